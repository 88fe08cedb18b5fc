"""Calls to PortOne are budgeted over the whole fleet: live work first, background work its share (DESIGN.md §3).

PortOne's own limit is not documented (PORTONE.md §1), so ours is a setting, and each account has it for itself: a
busy account takes no other's calls. The count is kept in Redis, one key a second, account and lane; without Redis
each worker keeps to the whole rate by itself.
"""

import asyncio
import time
from collections import defaultdict
from enum import Enum

from arq.connections import ArqRedis

from service.domain.payment import ACCOUNT
from service.redis.queue import REDIS_AWAY

_COMMAND_SECONDS = 0.5
_KEY_SECONDS = 5
# Places are taken a few at a time: each command is a write of Redis' log, for which a call would have to wait.
_LEASES_A_SECOND = 20


class Lane(Enum):
    """Whose call it is, and the share of the rate that it may use at most."""

    # All of it: what other lanes use counts here too.
    LIVE = 1.0
    # Reconciliation never starves live notices.
    BACKGROUND = 0.3
    # Nobody buys calls with invented payments.
    UNREGISTERED = 0.1


class Budget:
    """A rate of calls under each account, for all workers together."""

    def __init__(self, redis: ArqRedis, calls_per_second: float) -> None:
        self._redis = redis
        self._rate = calls_per_second
        self._held: dict[tuple[str, Lane], tuple[int, int]] = {}
        self._turns: dict[tuple[str, Lane], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._alone: dict[tuple[int, str, Lane], int] = {}

    async def take(self, lane: Lane, wait_seconds: float = 0.0, account: str = ACCOUNT) -> bool:
        """Whether a call under the account may be made now, or within the wait."""
        until = time.monotonic() + wait_seconds
        while not await self._has_place(lane, account):
            to_next_second = 1.0 - time.time() % 1.0
            if time.monotonic() + to_next_second > until:
                return False
            await asyncio.sleep(to_next_second)
        return True

    async def _has_place(self, lane: Lane, account: str) -> bool:
        """A lane that is past its share is refused before it counts in the whole: it takes no place of others."""
        return await self._draw(lane, account) and (lane is Lane.LIVE or await self._draw(Lane.LIVE, account))

    async def _draw(self, lane: Lane, account: str) -> bool:
        """Take one of the places that this process holds, or a few more from the fleet's: one command for several.

        In turn: callers who each fetched a few at once would use up the second, and throw most of it away.
        """
        async with self._turns[account, lane]:
            second = int(time.time())
            held_in, left = self._held.get((account, lane), (0, 0))
            if held_in != second or left == 0:
                left = await self._lease(second, lane, account)
            self._held[account, lane] = (second, max(0, left - 1))
            return left > 0

    async def _lease(self, second: int, lane: Lane, account: str) -> int:
        places = max(1, int(self._rate * lane.value))
        wanted = max(1, places // _LEASES_A_SECOND)
        # The default's key is the one that versions without accounts count in, too.
        of_account = "" if account == ACCOUNT else f"{account}:"
        key = f"portone-orders:calls:{of_account}{second}:{lane.name.lower()}"
        try:
            async with asyncio.timeout(_COMMAND_SECONDS), self._redis.pipeline(transaction=False) as pipe:
                pipe.incrby(key, wanted)
                pipe.expire(key, _KEY_SECONDS)
                taken, _ = await pipe.execute()
        except REDIS_AWAY:
            taken = self._alone.get((second, account, lane), 0) + wanted
            self._alone = {key: count for key, count in self._alone.items() if key[0] == second}
            self._alone[second, account, lane] = taken
        return max(0, wanted - max(0, int(taken) - places))
