"""A worker begins with a job that is named to it (docs/decisions/0035), and its cron outlives a wrong clock."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from arq.connections import ArqRedis
from arq.cron import cron
from arq.worker import func

from service.redis.listeners import Listeners, new_channel
from service.redis.queue import QUEUE_NAME, VERIFY, WAKE_CHANNEL, Queue, connect, deserialize, serialize
from tests.running import until
from workers.main import listen
from workers.woken import WokenWorker

_PATIENCE_SECONDS = 40


class Verifications:
    """A record of what the worker was told to verify. Each goes on until `end` is set."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.end = asyncio.Event()

    async def verify(self, ctx: dict[Any, Any], ids: Sequence[str]) -> None:
        self.begun += ids
        await self.end.wait()


def _worker(redis: ArqRedis, **options: Any) -> WokenWorker:
    return WokenWorker(
        redis_pool=redis, queue_name=QUEUE_NAME, job_serializer=serialize, job_deserializer=deserialize, **options
    )


def _verifying(given: Verifications) -> dict[str, Any]:
    """Return the options of a worker that verifies, on four places."""
    functions = [func(given.verify, name=VERIFY)]
    return {"functions": functions, "max_jobs": 4, "job_completion_wait": _PATIENCE_SECONDS}


@contextlib.asynccontextmanager
async def _working(redis_url: str, **options: Any) -> AsyncIterator[WokenWorker]:
    """Run a worker."""
    redis = connect(redis_url)
    worker = _worker(redis, **options)
    running = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await asyncio.gather(*worker.under_way())
        await redis.aclose(close_connection_pool=True)


@contextlib.asynccontextmanager
async def _running(given: Verifications, redis_url: str) -> AsyncIterator[WokenWorker]:
    """Run a worker that hears of what is queued."""
    async with _working(redis_url, **_verifying(given)) as worker:
        listening = asyncio.create_task(listen(worker))

        async def listens() -> bool:
            return (worker.channel.encode(), 1) in await worker.pool.pubsub_numsub(worker.channel)

        try:
            await until(listens)
            yield worker
        finally:
            given.end.set()
            listening.cancel()
            await asyncio.wait([listening])


@pytest.fixture
async def verifications(redis_url: str) -> AsyncIterator[Verifications]:
    given = Verifications()
    async with _running(given, redis_url):
        yield given


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    client = connect(redis_url)
    yield client
    await client.aclose(close_connection_pool=True)


async def test_a_job_is_begun_before_it_is_queued(redis: ArqRedis, redis_url: str) -> None:
    """Its name is enough to begin with it, and the job is removed."""
    given, notice = Verifications(), uuid4()
    async with _running(given, redis_url) as worker:
        await redis.publish(worker.channel, serialize(["job-1", 0, [notice]]))
        await until(lambda: _are(given, [notice]))
        await redis.enqueue_job(VERIFY, [notice], _job_id="job-1", _defer_by=timedelta(milliseconds=300))
        given.end.set()

        async def is_removed() -> bool:
            return not await redis.exists(QUEUE_NAME, "arq:job:job-1")

        await until(is_removed)
    assert given.begun == [str(notice)]


async def test_a_named_job_that_takes_long_is_begun_once(verifications: Verifications, redis: ArqRedis) -> None:
    """A worker that claims its own job, which is hidden no longer, knows that it has begun with it."""
    first, second = uuid4(), uuid4()
    queue = Queue(redis)
    await queue.put([first])
    await until(lambda: _are(verifications, [first]))
    await until(lambda: _is_claimed(redis))
    await queue.put([second])
    await until(lambda: _are(verifications, [first, second]))


async def test_jobs_are_named_to_the_workers_in_turn(redis: ArqRedis, redis_url: str) -> None:
    """Each of two workers gets every second job, and no job goes to both."""
    one, other, notices = Verifications(), Verifications(), [uuid4() for _ in range(4)]
    async with _running(one, redis_url), _running(other, redis_url):
        queue = Queue(redis)
        for notice in notices:
            await queue.put([notice])

        async def are_begun() -> bool:
            return len(one.begun) + len(other.begun) == len(notices)

        await until(are_begun)
        assert len(one.begun) == len(other.begun) == 2
        assert {*one.begun, *other.begun} == set(map(str, notices))


@pytest.mark.parametrize(
    "message", [b"7", b"null", b"[1,0,[]]", b'[["a"],0,[]]', b'{"a":1}', b"job-1 some-id", b"\xff"]
)
async def test_a_message_that_names_no_job_makes_nobody_deaf(redis: ArqRedis, redis_url: str, message: bytes) -> None:
    """A worker goes on to hear what is named to it."""
    given, notice = Verifications(), uuid4()
    async with _running(given, redis_url) as worker:
        for channel in (WAKE_CHANNEL, worker.channel):
            await redis.publish(channel, message)
        await redis.publish(worker.channel, serialize(["job-1", 0, [notice]]))
        await until(lambda: _are(given, [notice]))


async def test_jobs_are_named_within_one_database(
    verifications: Verifications, redis: ArqRedis, redis_url: str
) -> None:
    """A worker of another installation, in another database of the same Redis, is named nothing."""
    elsewhere = connect(redis_url.rpartition("/")[0] + "/1")
    assert await Listeners(elsewhere).next() is None
    assert await Listeners(redis).next() is not None
    await elsewhere.aclose(close_connection_pool=True)


async def test_a_job_named_to_a_worker_that_is_gone(
    verifications: Verifications, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears its name, so all workers are shown it at once."""
    monkeypatch.setattr("service.redis.queue._HIDDEN_MS", 60_000)
    queue, notice = Queue(redis), uuid4()
    async with redis.pubsub() as gone:
        await gone.subscribe(new_channel(redis))
        channels = {await queue._listeners.next() for _ in range(2)}
        assert len(channels) == 2
    for _ in range(2):
        await queue.put([notice])
    await until(lambda: _are(verifications, [notice, notice]))


async def test_a_job_named_to_a_worker_that_hangs(verifications: Verifications, redis: ArqRedis) -> None:
    """Another one does it soon."""
    queue, notices = Queue(redis), [uuid4(), uuid4()]
    async with redis.pubsub() as hanging:
        await hanging.subscribe(new_channel(redis))
        for notice in notices:
            await queue.put([notice])

        async def are_begun() -> bool:
            return {*verifications.begun} == set(map(str, notices))

        await until(are_begun)


async def test_a_worker_without_a_place_leaves_a_job_to_all(
    redis: ArqRedis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows the job in the order in which it was due, and to other workers at once."""
    monkeypatch.setattr("service.redis.queue._HIDDEN_MS", 60_000)
    full, notices = Verifications(), [uuid4() for _ in range(4)]
    async with _running(full, redis_url):
        queue = Queue(redis)
        for notice in notices:  # as many as it has places
            await queue.put([notice])
        await until(lambda: _are(full, notices))
        await queue.put([uuid4()], first=True)

        async def is_first() -> bool:
            [(_, score)] = await redis.zrange(QUEUE_NAME, 0, 0, withscores=True)
            return bool(score < time.time() * 1000)

        await until(is_first)


async def test_a_job_of_arqs_own_that_is_queued_again(redis_url: str) -> None:
    """It is begun again at once, though the worker may still remember its first run."""
    runs = 0

    async def run(ctx: dict[Any, Any]) -> None:
        nonlocal runs
        runs += 1

    async with _working(redis_url, functions=[func(run, name="other", keep_result=0)]) as worker:

        async def is_queued() -> bool:
            return await worker.pool.enqueue_job("other", _job_id="job-1") is not None

        async def is_run_again() -> bool:
            return runs == 2

        for condition in (is_queued, is_queued, is_run_again):
            await until(condition)
            worker.woken.set()


async def test_a_stop_during_a_claim_verifies_what_it_brings(redis_url: str) -> None:
    """A signal that comes while Redis still hands out jobs stops the worker once it has done them."""
    given, redis, other, notice = Verifications(), connect(redis_url), connect(redis_url), uuid4()
    given.end.set()
    worker = _worker(redis, **_verifying(given))
    await Queue(redis).put([notice])
    await other.client_pause(1000 * _PATIENCE_SECONDS, all=False)
    running = asyncio.create_task(worker.async_run())

    async def is_claiming() -> bool:
        return any("b" in client["flags"] for client in await other.client_list())

    await until(is_claiming)
    worker.handle_sig_wait_for_completion(signal.SIGTERM)
    await other.client_unpause()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert given.begun == [str(notice)]
    await asyncio.gather(*worker.under_way())
    for client in (redis, other):
        await client.aclose(close_connection_pool=True)


class Ticks:
    """A cron line that is due each second."""

    def __init__(self) -> None:
        self.line = cron(self._tick, name="tick", second=set(range(60)))
        self._ticked = asyncio.Event()

    async def _tick(self, ctx: dict[Any, Any]) -> None:
        self._ticked.set()

    async def next(self) -> None:
        """Wait for the next tick, which comes soon or never."""
        self._ticked.clear()
        async with asyncio.timeout(40):
            await self._ticked.wait()


@pytest.mark.parametrize("hours", [1, -1])
async def test_cron_lines_go_on_after_the_clock_was_set(redis_url: str, hours: int) -> None:
    """A tick comes within seconds of each setting of the clock, and an hour's missed ticks are not made up for."""
    ticks = Ticks()
    async with _working(redis_url, cron_jobs=[ticks.line]):
        await ticks.next()
        with time_machine.travel(timedelta(hours=hours)):
            await ticks.next()
            await ticks.next()
            assert ticks.line.next_run is not None
            assert abs(ticks.line.next_run - datetime.now(UTC)) < timedelta(minutes=1)
        await ticks.next()
        await ticks.next()


async def test_a_new_worker_forgets_what_a_wrong_clock_planned(redis_url: str) -> None:
    """After Redis went away there is a new worker, with the same lines, whose clock may have been set right."""
    ticks = Ticks()
    with time_machine.travel(timedelta(hours=1)):
        async with _working(redis_url, cron_jobs=[ticks.line]):
            await ticks.next()
    async with _working(redis_url, cron_jobs=[ticks.line]):
        await ticks.next()


async def _are(verifications: Verifications, ids: Sequence[UUID]) -> bool:
    return verifications.begun == [str(notice_id) for notice_id in ids]


async def _is_claimed(redis: ArqRedis) -> bool:
    """Say whether some worker has claimed the only job, whose score then lies behind its lease."""
    [(_, score)] = await redis.zrange(QUEUE_NAME, 0, -1, withscores=True)
    return bool(score > (time.time() + 1) * 1000)
