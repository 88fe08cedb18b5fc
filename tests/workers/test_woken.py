"""A worker begins with a job while Redis still writes it (docs/decisions/0003), and its cron outlives a wrong clock."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from arq.connections import ArqRedis
from arq.cron import cron
from arq.worker import func

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


def _worker(given: Verifications, redis: ArqRedis) -> WokenWorker:
    return WokenWorker(
        functions=[func(given.verify, name=VERIFY)], redis_pool=redis, queue_name=QUEUE_NAME, max_jobs=4,
        job_serializer=serialize, job_deserializer=deserialize, job_completion_wait=_PATIENCE_SECONDS,
    )  # fmt: skip


@pytest.fixture
async def verifications(redis_url: str) -> AsyncIterator[Verifications]:
    """A worker that runs, and hears of what is queued."""
    given, redis = Verifications(), connect(redis_url)
    worker = _worker(given, redis)
    running = [asyncio.create_task(worker.async_run()), asyncio.create_task(listen(worker))]
    subscribed = dict[bytes, int]()
    while not subscribed.get(WAKE_CHANNEL.encode()):
        subscribed = dict(await redis.pubsub_numsub(WAKE_CHANNEL))
    yield given
    given.end.set()
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await asyncio.gather(*worker.under_way())
    await redis.aclose(close_connection_pool=True)


async def test_a_job_is_begun_before_it_is_queued(verifications: Verifications, redis_url: str) -> None:
    """The word about a job is enough to begin with it; the job finds it begun, also when that has ended."""
    redis, notice, other = connect(redis_url), uuid4(), uuid4()
    verifications.end.set()
    await redis.publish(WAKE_CHANNEL, f"job-1 {notice}")
    await until(lambda: _are(verifications, [notice]))
    await redis.enqueue_job(VERIFY, [notice], _job_id="job-1")
    await redis.enqueue_job(VERIFY, [other], _job_id="job-2", _defer_by=timedelta(milliseconds=1))
    await until(lambda: _are(verifications, [notice, other]))
    await redis.aclose(close_connection_pool=True)


async def test_what_was_begun_is_verified_again_later(verifications: Verifications, redis_url: str) -> None:
    """A notice that came too soon after a look is queued for later; that job is not taken for the one begun."""
    redis, notice = connect(redis_url), uuid4()
    verifications.end.set()
    await redis.publish(WAKE_CHANNEL, f"job-1 {notice}")
    await until(lambda: _are(verifications, [notice]))
    await Queue(redis).put([notice], timedelta(milliseconds=1))
    await until(lambda: _are(verifications, [notice, notice]))
    await redis.aclose(close_connection_pool=True)


async def test_a_busy_worker_leaves_notices_to_their_jobs(verifications: Verifications, redis_url: str) -> None:
    """While one is verified, no other is begun at the word alone, which every worker hears."""
    redis, first, second, third = connect(redis_url), uuid4(), uuid4(), uuid4()
    await redis.publish(WAKE_CHANNEL, f"job-1 {first}")
    await until(lambda: _are(verifications, [first]))
    await redis.publish(WAKE_CHANNEL, f"job-2 {second}")
    await Queue(redis).put([third])
    await until(lambda: _are(verifications, [first, third]))
    await redis.aclose(close_connection_pool=True)


async def test_a_stop_during_a_claim_verifies_what_it_brings(redis_url: str) -> None:
    """A signal that comes while Redis still hands out jobs stops the worker once it has done them."""
    given, redis, other, notice = Verifications(), connect(redis_url), connect(redis_url), uuid4()
    given.end.set()
    worker = _worker(given, redis)
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

    @contextlib.asynccontextmanager
    async def worker(self, redis_url: str) -> AsyncIterator[None]:
        """Run a worker that has the line."""
        redis = connect(redis_url)
        worker = WokenWorker(
            cron_jobs=[self.line], redis_pool=redis, queue_name=QUEUE_NAME,
            job_serializer=serialize, job_deserializer=deserialize,
        )  # fmt: skip
        running = asyncio.create_task(worker.async_run())
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await asyncio.gather(*worker.under_way())
            await redis.aclose(close_connection_pool=True)


@pytest.mark.parametrize("hours", [1, -1])
async def test_cron_lines_go_on_after_the_clock_was_set(redis_url: str, hours: int) -> None:
    """A tick comes within seconds of each setting of the clock, and an hour's missed ticks are not made up for."""
    ticks = Ticks()
    async with ticks.worker(redis_url):
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
        async with ticks.worker(redis_url):
            await ticks.next()
    async with ticks.worker(redis_url):
        await ticks.next()


async def _are(verifications: Verifications, ids: Sequence[UUID]) -> bool:
    return verifications.begun == [str(notice_id) for notice_id in ids]
