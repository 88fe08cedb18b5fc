"""Redis as the queue. arq's quirks on this side live here (docs/design.md §5; tests/service/redis/test_queue.py).

- Jobs are in arq's format, as JSON: nothing on the queue can run code, and `arq` itself can read them.
- A job's id is new each time, because arq refuses an id that it has seen.
- Every command is bounded in time: a half-open connection is an error, not a wait without end.
- Each job is named to one of our workers, or else wakes them all: none waits for arq's next poll.
"""

import asyncio
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
from service.redis.listeners import Listeners
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

# A job that was named to a worker is hidden from the others for this long. By then that worker has done it, as a rule,
# or has shown it to them because it has no place.
_HIDDEN_MS = 300

# A script, because redis-py takes 0.1 ms less for it than for a transaction.
_ADD = """
redis.call('PSETEX', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
if ARGV[5] then redis.call('PUBLISH', ARGV[5], '') end
"""


def serialize(job: Any) -> bytes:
    return orjson.dumps(job, default=str)


def deserialize(job: bytes) -> Any:
    return orjson.loads(job)


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
        self._add_script = redis.register_script(_ADD)
        self._listeners = Listeners(redis)

    async def put(self, ids: Sequence[UUID], wait: timedelta = timedelta(), *, first: bool = False) -> None:
        """Queue one job for these notices, to start after `wait`. Raises RedisUnavailable within three seconds.

        `first`: a person waits for them, so they overtake up to a minute of backlog. A job that is due now is named to
        one of the workers, which begins with it while Redis still writes it to its log
        (docs/decisions/0035-name-each-job-to-one-worker.md).
        """
        job_id, now_ms = uuid4().hex, _now_ms()
        due_at_ms = now_ms + (wait - (_HEAD_START if first else timedelta())) // _MILLISECOND
        channel = None if wait else await self._listeners.next()
        if channel is None:
            await self._add(job_id, VERIFY, (list(ids),), due_at_ms, wakes=not wait)
            return
        is_heard, _ = await asyncio.gather(
            self._name(channel, job_id, due_at_ms, ids),
            self._add(job_id, VERIFY, (list(ids),), now_ms + _HIDDEN_MS, wakes=False),
        )
        if not is_heard:
            await bounded(show(self._redis, {job_id: due_at_ms}))

    async def _name(self, channel: bytes, job_id: str, due_at_ms: int, ids: Sequence[UUID]) -> bool:
        """Name the job to the worker of this channel. Return whether it listens."""
        try:
            heard_by: int = await bounded(self._redis.publish(channel, serialize([job_id, due_at_ms, ids])))
        except RedisUnavailable:
            return False
        return heard_by > 0

    async def search(self, wait: timedelta = timedelta()) -> None:
        """Queue one job for the searches that are due, to start after `wait`. Raises RedisUnavailable."""
        due_at_ms = _now_ms() + (wait - _HEAD_START) // _MILLISECOND
        await self._add(uuid4().hex, SEARCH, (), due_at_ms, wakes=not wait)

    async def _add(self, job_id: str, task: str, arguments: tuple[Any, ...], due_at_ms: int, *, wakes: bool) -> None:
        job = serialize_job(task, arguments, {}, None, _now_ms(), serializer=serialize)
        given: list[str | bytes | int] = [_JOB_EXPIRES_MS, job, due_at_ms, job_id]
        if wakes:
            given.append(WAKE_CHANNEL)
        await bounded(self._add_script([job_key_prefix + job_id, QUEUE_NAME], given))

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
        count: int = await bounded(self._redis.zcount(QUEUE_NAME, "-inf", _now_ms() + _PLANNED_MS))
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


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def show(redis: ArqRedis, jobs: Mapping[str, int]) -> None:
    """Show to all workers what was named to one: jobs by id, if they are still queued, and when each is due."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zadd(QUEUE_NAME, dict(jobs), xx=True)
        pipe.publish(WAKE_CHANNEL, b"")
        await pipe.execute()


def heed_cancellation() -> None:
    """Raise a cancellation that was lost; call it in every loop that talks to Redis.

    redis-py sends with `asyncio.wait_for`, which swallows a cancellation that comes as it ends (Python 3.11).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def messages(redis: ArqRedis, *channels: str) -> AsyncGenerator[bytes | None, None]:
    """Yield the channels' messages without end, and None after each subscription.

    Messages sent between two subscriptions are lost, so at every None a listener must look for itself. A silent
    connection is pinged, because a half-open one would stay silent for ever.
    """
    while True:
        heed_cancellation()
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(*channels)
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
