"""Calls to PortOne are budgeted over the whole fleet: live work first, background work its share (DESIGN.md §3).

PortOne's own limit is not documented (PORTONE.md §1), so ours is a setting. The count is kept in Redis, one key
a second and lane; without Redis each worker keeps to the whole rate by itself.
"""

import asyncio
import time
from enum import Enum

from arq.connections import ArqRedis

from service.queue import AWAY

_COMMAND_SECONDS = 0.5
_KEY_SECONDS = 5


class Lane(Enum):
    """Whose call it is, and the share of the rate that it may use at most."""

    # All of it: what other lanes use counts here too.
    LIVE = 1.0
    # Reconciliation never starves live notices.
    BACKGROUND = 0.3
    # Nobody buys calls with invented payments.
    UNREGISTERED = 0.1


class Budget:
    """A rate of calls for all workers together."""

    def __init__(self, redis: ArqRedis, calls_per_second: float) -> None:
        self._redis = redis
        self._rate = calls_per_second
        self._alone: tuple[int, dict[Lane, int]] = (0, {})

    async def take(self, lane: Lane, wait_seconds: float = 0.0) -> bool:
        """Whether a call may be made now, or within the wait."""
        until = time.monotonic() + wait_seconds
        while not await self._has_place(lane):
            to_next_second = 1.0 - time.time() % 1.0
            if time.monotonic() + to_next_second > until:
                return False
            await asyncio.sleep(to_next_second)
        return True

    async def _has_place(self, lane: Lane) -> bool:
        """A lane that is past its share is refused before it counts in the whole: it takes no place of others."""
        second = int(time.time())
        lanes = (lane,) if lane is Lane.LIVE else (lane, Lane.LIVE)
        for counted in lanes:
            if await self._count(second, counted) > max(1.0, self._rate * counted.value):
                return False
        return True

    async def _count(self, second: int, lane: Lane) -> int:
        key = f"portone-orders:calls:{second}:{lane.name.lower()}"
        try:
            async with asyncio.timeout(_COMMAND_SECONDS), self._redis.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, _KEY_SECONDS)
                taken, _ = await pipe.execute()
                return int(taken)
        except AWAY:
            return self._count_alone(second, lane)

    def _count_alone(self, second: int, lane: Lane) -> int:
        if self._alone[0] != second:
            self._alone = (second, {})
        counts = self._alone[1]
        counts[lane] = counts.get(lane, 0) + 1
        return counts[lane]
