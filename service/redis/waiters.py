"""The calls that wait for a payment's look: one Redis subscription in each process wakes them all."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from arq.connections import ArqRedis

from service.redis.queue import LOOKED_CHANNEL, messages

_WAITERS_MAX = 2_000


class TooManyWaiters(Exception):
    """Too many calls wait already."""


class Waiters:
    """The calls that wait for a payment. Being woken is only a hint: a call then reads Postgres."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._count = 0

    @contextlib.contextmanager
    def waiting_for(self, imp_uid: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever a look at the payment was written. Raises TooManyWaiters."""
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
        """Wake the calls that wait, for as long as the process lives."""
        async for message in messages(self._redis, LOOKED_CHANNEL):
            # None: messages may have been lost, so every call reads Postgres.
            for imp_uid in list(self._events) if message is None else message.decode().split(","):
                for event in self._events.get(imp_uid, ()):
                    event.set()
