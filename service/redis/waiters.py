"""Who waits for a payment's look: one Redis subscription a process, however many calls wait."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from arq.connections import ArqRedis

from service.redis.queue import LOOKED_CHANNEL, messages

_WAITERS_MAX = 2_000


class TooManyWaiters(Exception):
    """So many calls wait already that one more may not."""


class Waiters:
    """Wakes the calls that wait for a payment. Only a hint: who is woken reads Postgres."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._count = 0

    @contextlib.contextmanager
    def waiting_for(self, imp_uid: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever a look at the payment was written. Raises TooManyWaiters."""
        if self._count >= _WAITERS_MAX:
            raise TooManyWaiters
        event = asyncio.Event()
        self._events[imp_uid].add(event)
        self._count += 1
        try:
            yield event
        finally:
            self._count -= 1
            self._events[imp_uid].discard(event)
            if not self._events[imp_uid]:
                del self._events[imp_uid]

    async def listen(self) -> None:
        """Wake whoever waits, for as long as the process lives."""
        async for heard in messages(self._redis, LOOKED_CHANNEL):
            # What was said while nobody listened is read from Postgres.
            for imp_uid in list(self._events) if heard is None else heard.decode().split(","):
                for event in self._events.get(imp_uid, ()):
                    event.set()
