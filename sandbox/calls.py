"""Counts of the V1 calls, for tests that promise how few there are."""

from collections import Counter
from typing import Any


class Calls:
    """How often each endpoint was called and each imp_uid looked at, and how many calls were under way."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Start counting anew; calls under way stay under way."""
        self.total = 0
        self.max_in_flight = self.in_flight
        self.by_template: Counter[str] = Counter()
        self.by_imp_uid: Counter[str] = Counter()

    def begin(self, template: str, imp_uids: list[str]) -> None:
        """A call arrives. `imp_uids` are those it looks at, one by one or as a batch."""
        self.total += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.by_template[template] += 1
        self.by_imp_uid.update(imp_uids)

    def end(self) -> None:
        """The call is over, however it ended."""
        self.in_flight -= 1

    def report(self) -> dict[str, Any]:
        """The counts, as JSON."""
        return {
            "total": self.total,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_template": dict(self.by_template),
            "by_imp_uid": dict(self.by_imp_uid),
        }
