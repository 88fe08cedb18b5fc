"""The calls that wait for an order's next change: a bounded number, each woken when its order is announced."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

from service.usecases.places import Places


class ChangeWaiters:
    """The waiting calls, by merchant_uid. Being woken is only a hint: a call then reads the order."""

    def __init__(self, waiters_max: int) -> None:
        self.places = Places(waiters_max)
        self.is_closing = False
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextlib.contextmanager
    def waiting_for(self, merchant_uid: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each change of the order from now on. Raises Overloaded."""
        with self.places.taken():
            event = asyncio.Event()
            events = self._events[merchant_uid]
            events.add(event)
            try:
                yield event
            finally:
                events.discard(event)
                if not events:
                    del self._events[merchant_uid]

    def wake(self, merchant_uids: Iterable[str]) -> None:
        """Wake those who wait for these orders."""
        for merchant_uid in merchant_uids:
            for event in self._events.get(merchant_uid, ()):
                event.set()

    def wake_all(self) -> None:
        """Wake everybody, because changes may have been missed."""
        self.wake(list(self._events))

    def close(self) -> None:
        """Let everybody go, because the process ends."""
        self.is_closing = True
        self.wake_all()
