"""Places for calls that wait: a bounded number, with counts for the metrics."""

import contextlib
from collections.abc import Iterator

from service.errors import Overloaded


class Places:
    """The places of one kind of call that waits. Its counts are those of a kind of work (service/metrics.py)."""

    batches = 0  # each call is by itself

    def __init__(self, places_max: int) -> None:
        self._max = places_max
        self.waiting = self.items = self.shed = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place for the block. Raises Overloaded."""
        if self.waiting >= self._max:
            self.shed += 1
            raise Overloaded
        self.waiting += 1
        self.items += 1
        try:
            yield
        finally:
            self.waiting -= 1
