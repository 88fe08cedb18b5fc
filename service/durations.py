"""Durations, counted in buckets as a Prometheus histogram has them, for a quarter of what one of its library costs."""

from bisect import bisect_left
from collections.abc import Sequence

# From a statement on this machine to a PortOne that answers at its last moment.
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """Counts of durations since the start. Only the event loop adds to them, so they need no lock."""

    __slots__ = ("_counts", "bounds", "total_seconds")

    def __init__(self, bounds: Sequence[float] = _BOUNDS) -> None:
        self.bounds = bounds
        self.total_seconds = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.total_seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bucket's upper bound, and how many took no longer."""
        count, buckets = 0, []
        for bound, added in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            count += added
            buckets.append((bound, float(count)))
        return buckets
