"""The rate of traces: about TRACES_PER_SECOND at most are kept, and in every process the same ones.

A span costs as much as a tenth of a payment, so under load most traces are left out. Those are kept whose ids have the
least random number: processes that see the same notices keep the same traces, though none asks another.
"""

import time
from collections.abc import Callable
from uuid import UUID

# The last bits of a notice's id, which are random (RFC 9562 §5.7).
_RANDOM = 2**62


class TraceRate:
    """Says which traces are kept. Count notices before asking about them."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._since = clock()
        self._counted = 0
        # The share that would have been right in the second before.
        self._usual = 1.0
        self.share = 1.0

    def count(self, notices: int) -> None:
        """Count notices that are done now."""
        now = self._clock()
        if (seconds := now - self._since) >= 1.0:
            self._usual = self._right_for(self._counted / seconds)
            self._since, self._counted = now, 0
        self._counted += notices
        self.share = min(self._usual, self._right_for(self._counted))

    def keeps(self, notice_id: UUID) -> bool:
        """Say whether the notice's trace is kept."""
        return notice_id.int % _RANDOM < self.share * _RANDOM

    def _right_for(self, per_second: float) -> float:
        return min(1.0, self._per_second / per_second) if per_second else 1.0
