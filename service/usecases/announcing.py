"""Announcing changes of orders: whoever waits for one, or follows the feed, is woken by a message in Redis.

A message is only a hint, sent after the commit. Where it gets lost, those who wait find the change within a second
(service/usecases/following.py).
"""

import asyncio
from collections.abc import Sequence

import structlog

from service.errors import RedisUnavailable
from service.redis.queue import Queue

log = structlog.get_logger()

# What is announced at once, and what may wait for that. A message costs every process some CPU, so the next one comes
# no sooner than this: a lone change is still announced at once.
_BATCH = 500
_WAITING = 20_000
_SPACING_SECONDS = 0.01


async def announce(queue: Queue, merchant_uids: Sequence[str]) -> None:
    """Announce that these orders have changed. Never raises where Redis is away."""
    if not merchant_uids:
        return
    try:
        await queue.tell([], merchant_uids)
    except RedisUnavailable as error:
        log.warning("orders.not_announced", count=len(merchant_uids), reason=str(error))


class Announcer:
    """Announces changes in the background, so that no answer waits for Redis."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: dict[str, None] = {}  # a set that keeps its order
        self._sending: asyncio.Task[None] | None = None

    def changed(self, *merchant_uids: str) -> None:
        """Announce that these orders have changed, soon. Beyond its bound it announces nothing."""
        if merchant_uids and len(self._waiting) < _WAITING:
            self._waiting |= dict.fromkeys(merchant_uids)
            if self._sending is None:
                self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Wait until all is announced."""
        if self._sending is not None:
            await asyncio.wait({self._sending})

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = list(self._waiting)[:_BATCH]
                for merchant_uid in batch:
                    del self._waiting[merchant_uid]
                await announce(self._queue, batch)
                await asyncio.sleep(_SPACING_SECONDS)
        finally:
            self._sending = None
