"""Rates of clients for all receivers together: token buckets in Redis, settled ten times a second.

No request waits for Redis, and most cost it nothing: a receiver decides by its own buckets, and tells Redis in one
script what the clients of all its limiters have taken since. What it learns corrects its buckets. Without Redis each
receiver allows every client the whole rate by itself (docs/decisions/0023-settle-shared-limits-after-the-answer.md).
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from arq.connections import ArqRedis

from service.rate_limits import Limiter
from service.redis.bounds import REDIS_AWAY
from service.redis.queue import heed_cancellation

log = structlog.get_logger()

SETTLE_SECONDS = 0.1
# Of each limiter in one script: Redis is busy with 400 clients for 1.6 ms.
CLIENTS_MAX = 200
# Several receivers may have let a client through at the same instant. It is kept out no longer than this for it.
OVERDRAWN_SECONDS_MAX = 5.0
_COMMAND_SECONDS = 0.5

# A bucket is one number, the time at which it will be full again (the field's term: GCRA), and its key ends then. So
# a bucket that is full has no key.
_SETTLE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local missing = {}
for i, key in ipairs(KEYS) do
    local taken_seconds, limit_seconds = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local full_at = math.max(tonumber(redis.call('GET', key) or '0'), now) + taken_seconds
    full_at = math.min(full_at, now + limit_seconds)
    redis.call('SET', key, string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000))
    missing[i] = string.format('%.6f', full_at - now)
end
return missing
"""


class SharedLimits:
    """Settles the shared limiters of a receiver, by their names."""

    def __init__(self, redis: ArqRedis, limiters: Mapping[str, Limiter]) -> None:
        self._script = redis.register_script(_SETTLE)
        self._limiters = limiters
        self._is_away = False
        # Scripts sent, and clients settled by them.
        self.rounds = self.settled = 0

    async def run(self) -> None:
        """Settle again and again, until cancelled."""
        while True:
            heed_cancellation()
            await asyncio.sleep(SETTLE_SECONDS)
            await self.settle()

    async def settle(self) -> None:
        """Settle once what is owed. If Redis is away it is forgotten: then each receiver's own buckets count."""
        debts = [
            (name, limiter, client, owed)
            for name, limiter in self._limiters.items()
            for client, owed in limiter.owing(CLIENTS_MAX).items()
        ]
        if not debts:
            return
        keys = [f"portone-orders:limit:{name}:{client}" for name, _, client, _ in debts]
        arguments = [text for _, limiter, _, owed in debts for text in _arguments(limiter.client_rate, owed)]
        missing = await self._send(keys, arguments)
        for (_, limiter, client, _), seconds in zip(debts, missing, strict=False):
            limiter.settle(client, max(limiter.client_rate, 1.0) - float(seconds) * limiter.client_rate)

    async def _send(self, keys: Sequence[str], arguments: Sequence[str]) -> Sequence[bytes]:
        """Return for each key how many seconds its bucket needs to be full; nothing where Redis is away."""
        self.rounds += 1
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                missing: Sequence[bytes] = await self._script(keys=keys, args=arguments)
        except REDIS_AWAY as error:
            self._note(is_away=True, reason=type(error).__name__)
            return []
        self._note(is_away=False)
        self.settled += len(keys)
        return missing

    def _note(self, *, is_away: bool, **fields: str) -> None:
        if is_away != self._is_away:
            self._is_away = is_away
            log.warning("limits.not_shared" if is_away else "limits.shared_again", **fields)


def _arguments(rate: float, owed: int) -> tuple[str, str]:
    """Return how many seconds of its rate a client has taken, and how many its bucket may be short of."""
    return f"{owed / rate:.6f}", f"{max(rate, 1.0) / rate + OVERDRAWN_SECONDS_MAX:.6f}"
