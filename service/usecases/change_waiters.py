"""The calls that wait for an order's next change: a bounded number, each woken when its order is announced."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

from service.usecases.places import Places


class Waiter(asyncio.Event):
    """A call that waits, with the order's version that it read last. It is set at each change of the order."""

    version = 0


class ChangeWaiters:
    """The waiting calls, by merchant_uid. Being woken is only a hint: a call then reads the order."""

    def __init__(self, waiters_max: int) -> None:
        self.places = Places(waiters_max)
        self.is_closing = False
        self._waiters: dict[str, set[Waiter]] = defaultdict(set)

    @contextlib.contextmanager
    def waiting_for(self, merchant_uid: str, caller: bytes = b"") -> Iterator[Waiter]:
        """Yield a waiter that is set at each change of the order from now on. Raises Overloaded."""
        with self.places.taken(caller):
            waiter, waiters = Waiter(), self._waiters[merchant_uid]
            waiters.add(waiter)
            try:
                yield waiter
            finally:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[merchant_uid]

    def wake(self, merchant_uids: Iterable[str]) -> None:
        """Wake those who wait for these orders."""
        for merchant_uid in merchant_uids:
            for waiter in self._waiters.get(merchant_uid, ()):
                waiter.set()

    def wake_older(self, merchant_uid: str, version: int) -> None:
        """Wake those who wait for this order and have not read this version of it."""
        for waiter in self._waiters.get(merchant_uid, ()):
            if waiter.version < version:
                waiter.set()

    def wake_all(self) -> None:
        """Wake everybody, because changes may have been missed."""
        self.wake(list(self._waiters))

    def close(self) -> None:
        """Let everybody go, because the process ends."""
        self.is_closing = True
        self.wake_all()
