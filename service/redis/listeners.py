"""The workers that listen for jobs that are named to them (docs/decisions/0035-name-each-job-to-one-worker.md)."""

import time
from collections.abc import Sequence
from uuid import uuid4

from arq.connections import ArqRedis

from service.redis.bounds import bounded

# With the number of the database, which channels of Redis do not know: several installations may share a server.
_CHANNELS = "portone-orders:jobs:{db}:"
# Redis is asked this often who listens. A subscription ends with its connection, so the answer is never older.
_ASK_SECONDS = 1.0


def new_channel(redis: ArqRedis) -> str:
    """Return the name of a channel for one worker."""
    return _prefix(redis) + uuid4().hex


def _prefix(redis: ArqRedis) -> str:
    return _CHANNELS.format(db=redis.connection_pool.connection_kwargs.get("db") or 0)


class Listeners:
    """The workers that listen, each on a channel of its own. They take turns."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._channels: Sequence[bytes] = ()
        self._asked_at = float("-inf")
        self._turn = 0

    async def next(self) -> bytes | None:
        """Return the channel of the worker whose turn it is; None if none listens. Raises RedisUnavailable."""
        if time.monotonic() - self._asked_at >= _ASK_SECONDS:
            self._channels = await bounded(self._redis.pubsub_channels(_prefix(self._redis) + "*"))
            self._asked_at = time.monotonic()
        if not self._channels:
            return None
        self._turn += 1
        return self._channels[self._turn % len(self._channels)]
