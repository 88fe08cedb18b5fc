"""Counts of the V1 calls, for tests that limit them."""

from collections import Counter
from typing import Any


class Calls:
    """Counts: calls of each endpoint, looks at each imp_uid, and calls under way at the same time."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Start counting at zero. Calls that are under way still count as such."""
        self.total = 0
        self.max_in_flight = self.in_flight
        self.by_template: Counter[str] = Counter()
        self.by_imp_uid: Counter[str] = Counter()

    def begin(self, template: str, imp_uids: list[str]) -> None:
        """Count a call that arrives, with the imp_uids that it looks at."""
        self.total += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.by_template[template] += 1
        self.by_imp_uid.update(imp_uids)

    def end(self) -> None:
        """Count a call as over, whether it succeeded or not."""
        self.in_flight -= 1

    def report(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {
            "total": self.total,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_template": dict(self.by_template),
            "by_imp_uid": dict(self.by_imp_uid),
        }
