"""The budget of calls to PortOne, for the whole fleet: background work gets only a share (docs/design.md §3).

PortOne's own limit is not documented (docs/portone.md §1), so ours is a setting, and each account has it for itself: a
busy account takes no calls of another. Redis counts the calls, with one key for each account, second and lane; without
Redis each worker keeps to the whole rate by itself.
"""

import asyncio
import time
from collections import defaultdict
from enum import Enum

from arq.connections import ArqRedis

from service.domain.payment import ACCOUNT
from service.redis.bounds import REDIS_AWAY

_COMMAND_SECONDS = 0.5
_KEY_SECONDS = 5
# Calls are leased a few at a time, because each command waits for a write of Redis' log.
_LEASES_A_SECOND = 20


class Lane(Enum):
    """The kind of a call, and the largest share of the rate that it may use."""

    # The whole rate. Calls of the other lanes count here too.
    LIVE = 1.0
    # Reconciliation never starves live notices.
    BACKGROUND = 0.3
    # Searches are for registered orders, but anybody who knows an order's number can cause them.
    SEARCH = 0.2
    # Invented payments cannot use up the calls.
    UNREGISTERED = 0.1


class Budget:
    """A rate of calls under each account, for all workers together."""

    def __init__(self, redis: ArqRedis, calls_per_second: float) -> None:
        self._redis = redis
        self._rate = calls_per_second
        self._leases: dict[tuple[str, Lane], tuple[int, int]] = {}
        self._locks: dict[tuple[str, Lane], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._own_counts: dict[tuple[int, str, Lane], int] = {}

    async def take(self, lane: Lane, wait_seconds: float = 0.0, account: str = ACCOUNT) -> bool:
        """Take a call under the account, now or within the wait. Return whether there is one."""
        until = time.monotonic() + wait_seconds
        while not await self._take_now(lane, account):
            to_next_second = 1.0 - time.time() % 1.0
            if time.monotonic() + to_next_second > until:
                return False
            await asyncio.sleep(to_next_second)
        return True

    async def _take_now(self, lane: Lane, account: str) -> bool:
        """Draw from the lane's share, then from the whole rate: a lane past its share takes no calls of others."""
        return await self._draw(lane, account) and (lane is Lane.LIVE or await self._draw(Lane.LIVE, account))

    async def _draw(self, lane: Lane, account: str) -> bool:
        """Draw one of the calls that this process has leased, or lease a few more with one command.

        One caller at a time: if each leased a few at once, they would use up the second and waste most of it.
        """
        async with self._locks[account, lane]:
            second = int(time.time())
            leased_in, left = self._leases.get((account, lane), (0, 0))
            if leased_in != second or left == 0:
                left = await self._lease(second, lane, account)
            self._leases[account, lane] = (second, max(0, left - 1))
            return left > 0

    async def _lease(self, second: int, lane: Lane, account: str) -> int:
        limit = max(1, int(self._rate * lane.value))
        wanted = max(1, limit // _LEASES_A_SECOND)
        key = f"portone-orders:calls:{account}:{second}:{lane.name.lower()}"
        try:
            async with asyncio.timeout(_COMMAND_SECONDS), self._redis.pipeline(transaction=False) as pipe:
                pipe.incrby(key, wanted)
                pipe.expire(key, _KEY_SECONDS)
                taken, _ = await pipe.execute()
        except REDIS_AWAY:
            taken = self._own_counts.get((second, account, lane), 0) + wanted
            self._own_counts = {key: count for key, count in self._own_counts.items() if key[0] == second}
            self._own_counts[second, account, lane] = taken
        return max(0, wanted - max(0, int(taken) - limit))
