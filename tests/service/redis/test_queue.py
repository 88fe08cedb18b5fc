"""arq's quirks on the side of the queue, each handled in `service/redis/queue.py` (docs/design.md §5)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import time_machine
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import Job, JobStatus, deserialize_job_raw
from redis.asyncio import Redis as RedisClient
from redis.exceptions import TimeoutError as RedisTimeout

from service.domain.notice import Notice, Source
from service.errors import RedisUnavailable
from service.notice_ids import new_notice_id
from service.redis.durability import read_durability
from service.redis.listeners import new_channel
from service.redis.queue import (
    LOOKED_CHANNEL,
    QUEUE_NAME,
    VERIFY,
    WAKE_CHANNEL,
    Queue,
    connect,
    deserialize,
    messages,
)

NOTICE = Notice(new_notice_id(), Source.COMPLETION, "imp_1", "주문/1", "abc", "paid", "c_1")


@pytest.fixture
async def arq(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = connect(redis_url)
    yield redis
    await redis.aclose(close_connection_pool=True)


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    opened = Queue(connect(redis_url))
    yield opened
    await opened.close()


@pytest.fixture
async def half_open() -> AsyncIterator[str]:
    """A Redis that accepts every connection and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()


async def _job_ids(arq: ArqRedis) -> list[str]:
    return [job_id.decode() for job_id in await arq.zrange(QUEUE_NAME, 0, -1)]


async def test_arq_reads_our_jobs(queue: Queue, arq: ArqRedis) -> None:
    """arq reads a job of ours with its function and arguments, and sees that it is queued."""
    ids = [uuid4(), uuid4()]
    await queue.put(ids)
    [job_id] = await _job_ids(arq)
    job = Job(job_id, arq, QUEUE_NAME, _deserializer=deserialize)
    info = await job.info()
    assert info is not None
    assert (info.function, list(info.args), info.kwargs) == (VERIFY, [[str(i) for i in ids]], {})
    assert await job.status() is JobStatus.queued


async def test_nothing_on_the_queue_can_run_code(queue: Queue, arq: ArqRedis) -> None:
    """A job is JSON, not arq's default pickle."""
    await queue.put([uuid4()])
    [job_id] = await _job_ids(arq)
    raw = await arq.get(job_key_prefix + job_id)
    assert raw.startswith(b"{")
    assert deserialize_job_raw(raw, deserializer=deserialize)[0] == VERIFY


async def test_the_same_notices_can_be_queued_again(queue: Queue, arq: ArqRedis) -> None:
    """Each job has its own id, so that arq refuses none as a duplicate."""
    ids = [uuid4()]
    for _ in range(3):
        await queue.put(ids)
    assert len(set(await _job_ids(arq))) == 3


async def test_a_job_that_waits(queue: Queue, arq: ArqRedis) -> None:
    """A deferred job is due after its wait, and arq sees it as deferred."""
    await queue.put([uuid4()], timedelta(seconds=30))
    [job_id] = await _job_ids(arq)
    assert await Job(job_id, arq, QUEUE_NAME, _deserializer=deserialize).status() is JobStatus.deferred
    assert await arq.zscore(QUEUE_NAME, job_id) == pytest.approx((time.time() + 30) * 1000, abs=2000)


async def test_a_job_that_somebody_waits_for_goes_first(queue: Queue, arq: ArqRedis) -> None:
    """A job that somebody waits for starts before jobs of the last minute, and after older ones."""
    await queue.put([uuid4()])
    [recent] = await _job_ids(arq)
    await arq.zadd(QUEUE_NAME, {"older": (time.time() - 90) * 1000})
    await queue.put([uuid4()], first=True)
    older, first, last = await _job_ids(arq)
    assert (older, last) == ("older", recent)
    assert first not in (older, recent)


async def test_jobs_of_a_wrong_clock_do_not_count(queue: Queue) -> None:
    """Jobs of a receiver whose clock was an hour ahead make no sweep hold back; those that are deferred count."""
    with time_machine.travel(timedelta(hours=1)):
        await queue.put([new_notice_id()])
    await queue.put([new_notice_id()], wait=timedelta(seconds=16))
    assert await queue.length() == 1


async def test_a_job_wakes_the_workers(queue: Queue, arq: ArqRedis) -> None:
    """Where no worker listens on a channel of its own, each job that is due now wakes all."""
    received = messages(arq, WAKE_CHANNEL)
    assert await anext(received) is None  # the subscription is active
    await queue.put([uuid4()])
    await queue.put([uuid4()], timedelta(seconds=9))
    await queue.search()
    async with asyncio.timeout(10):
        assert [await anext(received) for _ in range(2)] == [b"", b""]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await anext(received)
    await received.aclose()


async def test_a_job_is_named_to_a_worker(queue: Queue, arq: ArqRedis) -> None:
    """A job that is due now is named to a worker that listens, and hidden from the others for a moment."""
    channel = new_channel(arq)
    received = messages(arq, channel)
    assert await anext(received) is None
    ids = [uuid4() for _ in range(3)]
    began_ms = time.time() * 1000
    await queue.put(ids, first=True)
    async with asyncio.timeout(10):
        message = await anext(received)
    assert message is not None
    job_id, due_at_ms, named = deserialize(message)
    assert [job_id] == await _job_ids(arq)
    assert named == [str(notice_id) for notice_id in ids]
    assert due_at_ms == pytest.approx(began_ms - 60_000, abs=5_000)
    assert await arq.zscore(QUEUE_NAME, job_id) > began_ms + 100
    await received.aclose()


async def test_the_waiters_are_told(queue: Queue, arq: ArqRedis) -> None:
    """One message a batch names the payments that were looked at, and the orders that changed."""
    received = messages(arq, LOOKED_CHANNEL)
    assert await anext(received) is None
    await queue.tell(["imp_1", "imp_2"], ["order,1"], {"imp_1": ("order,1", "paid")})
    async with asyncio.timeout(10):
        assert await anext(received) == b'[["imp_1","imp_2"],["order,1"],{"imp_1":["order,1","paid"]}]'
    await received.aclose()


async def test_a_listener_outlives_its_connection(queue: Queue, arq: ArqRedis, redis_url: str) -> None:
    """A subscription that is cut is made again, yields None, and then receives again."""
    received = messages(arq, LOOKED_CHANNEL)
    assert await anext(received) is None
    waiting = asyncio.ensure_future(anext(received))
    async with RedisClient.from_url(redis_url) as admin:
        await admin.client_kill_filter(_type="pubsub")
    async with asyncio.timeout(10):
        assert await waiting is None
        await queue.tell(["imp_1"])
        assert await anext(received) == b'[["imp_1"],[],{}]'
    await received.aclose()


async def test_a_half_open_connection_is_an_error(half_open: str) -> None:
    """A call to a Redis that never answers fails within seconds."""
    queue = Queue(connect(half_open))
    began = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await queue.put([uuid4()])
    assert time.monotonic() - began < 2.5
    await queue.close()


@pytest.mark.parametrize("size", [1, 20_000_000])
async def test_a_command_ends_by_itself(half_open: str, size: int) -> None:
    """A client bounds each command, whether its answer does not come or its bytes do not leave."""
    redis = connect(half_open, socket_timeout=0.2)
    async with asyncio.timeout(10):
        with pytest.raises(RedisTimeout):
            await redis.publish("channel", bytes(size))
    await redis.aclose(close_connection_pool=True)


async def test_a_durable_redis_is_shown_to_be_one(arq: ArqRedis, queue: Queue) -> None:
    """Each setting that could lose a notice is reported in a sentence, and the embedded Redis has none."""
    assert (await read_durability(arq)).weaknesses == []
    assert await queue.is_durable()
    await arq.config_set("appendfsync", "everysec")
    try:
        assert len((await read_durability(arq)).weaknesses) == 1
        assert not await queue.is_durable()
    finally:
        await arq.config_set("appendfsync", "always")


async def test_a_cancelled_listener_ends(arq: ArqRedis) -> None:
    """A cancelled listener ends, whatever it was doing (asyncio.wait_for on Python 3.11)."""

    async def listen() -> None:
        async for _ in messages(arq, LOOKED_CHANNEL):
            pass

    for turns in range(60):
        listening = asyncio.create_task(listen())
        for _ in range(turns):
            await asyncio.sleep(0)
        listening.cancel()
        done, _ = await asyncio.wait([listening], timeout=10)
        assert done, f"it still listens after {turns} turns"
        with contextlib.suppress(asyncio.CancelledError):
            await listening


def test_ids_are_plain_texts() -> None:
    """A UUID in the queue is a text that can be read back."""
    assert UUID(str(NOTICE.id)) == NOTICE.id
