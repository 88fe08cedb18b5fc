"""Redis as the queue. arq's quirks on this side live here (docs/design.md §5; tests/service/redis/test_queue.py).

- Jobs are in arq's format, as JSON: nothing on the queue can run code, and `arq` itself can read them.
- A job's id is new each time, because arq refuses an id that it has seen.
- Every command is bounded in time: a half-open connection is an error, not a wait without end.
- A wake-up is published beside each job: our worker does not wait for arq's next poll.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio.client import PubSub

from service.domain.notice import Notice
from service.errors import RedisUnavailable
from service.redis.bounds import COMMAND_SECONDS, REDIS_AWAY, bounded
from service.redis.connecting import MasterPool, open_connections
from service.redis.durability import is_nearly_full, read_durability
from service.redis.spill import SPILL_STREAM, Spill, Spilled, bytes_spilled

log = structlog.get_logger()

QUEUE_NAME = "portone-orders"
VERIFY = "verify_notices"
SEARCH = "search_payments"
# One message for each batch: the payments that were looked at, changed or not, the orders that changed, and the states
# that payments have brought them to.
LOOKED_CHANNEL = "portone-orders:looked"
WAKE_CHANNEL = "portone-orders:wake"
SPILL_BYTES_MAX = 64_000_000

NOTICES_PER_JOB = 100
_MILLISECOND = timedelta(milliseconds=1)
_HEAD_START = timedelta(minutes=1)
_SILENCE_SECONDS = 2.0
_RESUBSCRIBE_SECONDS = 0.3
# arq drops a job this old. Its notices are due again long before; their rows, not the job, are the promise.
_JOB_EXPIRES_MS = 86_400_000
# A job is under way for less than this, and is deferred by less. One that is further ahead came from a wrong clock.
_PLANNED_MS = 600_000


def serialize(job: dict[str, Any]) -> bytes:
    return orjson.dumps(job, default=str)


def deserialize(job: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(job)
    return fields


def connect(redis_url: str, **options: Any) -> ArqRedis:
    """Make a client whose every command is bounded in time. It connects when it is first used."""
    waits = {"socket_timeout": COMMAND_SECONDS, "socket_connect_timeout": COMMAND_SECONDS}
    pool = open_connections(redis_url, **{**waits, **options})
    return ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE_NAME)


@dataclass(frozen=True, slots=True)
class QueueSizes:
    """The jobs in the queue, and what the spill stream holds of what it may."""

    jobs: int
    spilled: int
    spilled_bytes: int
    room_bytes: int


class Queue:
    """The queue of batches of notices, the spill stream beside it, and the messages to waiting calls."""

    def __init__(self, redis: ArqRedis, spill_bytes_max: int = SPILL_BYTES_MAX) -> None:
        self._redis = redis
        self._spill_bytes_max = spill_bytes_max
        self._spill = Spill(redis, spill_bytes_max)

    async def put(self, ids: Sequence[UUID], wait: timedelta = timedelta(), *, first: bool = False) -> None:
        """Queue one job for these notices, to start after `wait`. Raises RedisUnavailable within a second.

        `first`: a person waits for them, so they overtake up to a minute of backlog. An idle worker begins with them
        while Redis still writes their job to the log (docs/decisions/0003-wake-the-worker-instead-of-polling.md).
        """
        job_id = uuid4().hex
        queued = self._queue_job(job_id, VERIFY, (list(ids),), wait, first=first)
        await (queued if wait else asyncio.gather(self._name(job_id, ids), queued))

    async def _name(self, job_id: str, ids: Sequence[UUID]) -> None:
        with contextlib.suppress(RedisUnavailable):  # the job says it too
            await bounded(self._redis.publish(WAKE_CHANNEL, " ".join([job_id, *map(str, ids)])))

    async def search(self, wait: timedelta = timedelta()) -> None:
        """Queue one job for the searches that are due, to start after `wait`. Raises RedisUnavailable."""
        await self._queue_job(uuid4().hex, SEARCH, (), wait, first=True)

    async def _queue_job(
        self, job_id: str, task: str, arguments: tuple[Any, ...], wait: timedelta, *, first: bool
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        job = serialize_job(task, arguments, {}, None, now_ms, serializer=serialize)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.psetex(job_key_prefix + job_id, _JOB_EXPIRES_MS, job)
            pipe.zadd(QUEUE_NAME, {job_id: now_ms + (wait - (_HEAD_START if first else timedelta())) // _MILLISECOND})
            if not wait:
                pipe.publish(WAKE_CHANNEL, b"")
            await bounded(pipe.execute())

    async def tell(
        self,
        imp_uids: Sequence[str],
        merchant_uids: Sequence[str] = (),
        reached: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """Tell the waiters of these payments, and of these orders, that a look was written.

        `reached` holds, by imp_uid, the order that the payment has brought to a state, and that state.
        """
        message = orjson.dumps([list(imp_uids), list(merchant_uids), reached or {}])
        await bounded(self._redis.publish(LOOKED_CHANNEL, message))

    async def length(self) -> int:
        """Return how many jobs wait or are under way. Those of a clock that was an hour ahead keep nobody waiting."""
        count: int = await bounded(self._redis.zcount(QUEUE_NAME, "-inf", time.time_ns() // 1_000_000 + _PLANNED_MS))
        return count

    async def sizes(self) -> QueueSizes:
        """Measure the queue and the spill stream. Raises RedisUnavailable."""
        spilled = await bounded(self._redis.xlen(SPILL_STREAM))
        spilled_bytes = await bounded(bytes_spilled(self._redis))
        return QueueSizes(await self.length(), spilled, spilled_bytes, self._spill_bytes_max)

    async def is_durable(self) -> bool:
        """Return whether this Redis keeps what it accepts, by its own answer now. Raises RedisUnavailable."""
        return (await read_durability(self._redis)).is_enough

    async def has_room(self) -> bool:
        """Return whether Redis has memory left for its queue beside what is spilled. Raises RedisUnavailable."""
        memory = await bounded(self._redis.info("memory"))
        return not is_nearly_full(memory)

    async def spill(self, notices: Sequence[Notice], senders: Sequence[str]) -> list[bool]:
        """Keep notices until a sweep moves them into Postgres; return which had room. Raises RedisUnavailable."""
        return await bounded(self._spill.keep(notices, senders))

    async def spilled(self, limit: int) -> list[Spilled]:
        """Return the oldest spilled notices. Raises RedisUnavailable."""
        return await bounded(self._spill.read(limit))

    async def forget_spilled(self, entry_ids: Sequence[bytes]) -> None:
        """Remove entries. Call it only after their notices are committed in Postgres."""
        if entry_ids:
            await bounded(self._spill.forget(entry_ids))

    async def set_spilled_aside(self, entry_id: bytes) -> None:
        """Move an entry that cannot be recorded to where a person finds it."""
        await bounded(self._spill.set_aside(entry_id))

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)


def heed_cancellation() -> None:
    """Raise a cancellation that was lost; call it in every loop that talks to Redis.

    redis-py sends with `asyncio.wait_for`, which swallows a cancellation that comes as it ends (Python 3.11).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def messages(redis: ArqRedis, channel: str) -> AsyncGenerator[bytes | None, None]:
    """Yield the channel's messages without end, and None after each subscription.

    Messages sent between two subscriptions are lost, so at every None a listener must look for itself. A silent
    connection is pinged, because a half-open one would stay silent for ever.
    """
    while True:
        heed_cancellation()
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                yield None
                async for message in _receive(redis, pubsub):
                    yield message
        except REDIS_AWAY:
            await asyncio.sleep(_RESUBSCRIBE_SECONDS)


async def _receive(redis: ArqRedis, pubsub: PubSub) -> AsyncIterator[bytes]:
    is_pinged = False
    while True:
        heed_cancellation()
        message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
        if message is None and is_pinged:
            raise TimeoutError("Redis does not answer a ping")
        is_pinged = message is None
        if is_pinged:
            if isinstance(redis.connection_pool, MasterPool):
                redis.connection_pool.ask_again()  # a master that was cut off from the others still answers a ping
            await bounded(pubsub.ping())
        elif message["type"] == "message":
            yield message["data"]
