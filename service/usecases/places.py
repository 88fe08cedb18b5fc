"""Places for calls that wait: a bounded number, of which no caller takes all, with counts for the metrics."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from service.errors import Overloaded

# This part of the places is for callers that have less than it. A caller alone may take the rest.
_KEPT_PART = 4


class Places:
    """The places of one kind of call that waits. Its counts are those of a kind of work (service/metrics.py)."""

    batches = 0  # each call is by itself

    def __init__(self, places_max: int) -> None:
        self._max = places_max
        self._by_caller: Counter[bytes] = Counter()
        self.waiting = self.items = self.shed = 0

    @contextlib.contextmanager
    def taken(self, caller: bytes = b"") -> Iterator[None]:
        """Take a place for the block. Raises Overloaded."""
        kept = self._max // _KEPT_PART
        free = self._max - self.waiting
        if free <= (kept if self._by_caller[caller] >= kept else 0):
            self.shed += 1
            raise Overloaded
        self.waiting += 1
        self.items += 1
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self.waiting -= 1
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]
