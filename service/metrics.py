"""The receiver's metrics: its own counts, and the state that all processes share (service/usecases/measuring.py)."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

from service.durations import Durations
from service.exposition import Exposition, Labels


class Metrics(Exposition):
    """The metrics of one receiver."""

    def __init__(self) -> None:
        super().__init__()
        self._intake: Counter[str] = Counter()
        self._events: Counter[Labels] = Counter()
        # A counter that begins with its first event shows no increase, so what an alert waits for begins at 0.
        self._requests: Counter[Labels] = Counter({("500",): 0})
        self.acceptances = Durations()
        self.completions = Durations()
        self._show_intake()
        self.counter(
            "connection_events",
            "Connections and requests refused or closed",
            lambda: self._events,
            ("event", "kind"),
        )
        self.counter("requests", "Requests answered", lambda: self._requests, ("status",))
        self.histogram(
            "accept_seconds",
            "Time until a notice was durable",
            lambda: {(): self.acceptances},
        )
        self.histogram(
            "completion_answer_seconds",
            "Time from a completion call to its answer",
            lambda: {(): self.completions},
        )

    def count_batch(self, *, accepted: int, spilled: int, refused: int) -> None:
        """Count one write of intake."""
        self._intake["accepted"] += accepted
        self._intake["spilled"] += spilled
        self._intake["refused"] += refused

    def count_no_room(self, notices: int) -> None:
        """Count notices that found no room in Redis while Postgres was away."""
        self._intake["no_room"] += notices

    def count_event(self, event: str, kind: str) -> None:
        """Count a connection that was refused or closed, or a request that was not understood."""
        self._events[event, kind] += 1

    def count_request(self, status: int) -> None:
        """Count one answer."""
        self._requests[(str(status),)] += 1

    def _show_intake(self) -> None:
        meanings = {
            "accepted": ("notices_accepted", "Notices that were made durable"),
            "spilled": ("notices_spilled", "Notices made durable in Redis while Postgres was away"),
            "no_room": ("notices_without_room", "Notices answered 503 because SPILL_MEGABYTES was used up"),
            "refused": ("notices_not_recorded", "Notices answered 503"),
        }
        for key, (name, meaning) in meanings.items():
            self.counter(name, meaning, partial(self._one, key))

    def _one(self, key: str) -> Mapping[Labels, float]:
        return {(): self._intake[key]}
