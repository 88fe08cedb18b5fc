"""Counts of looks for the metrics, added to once for each batch."""

import time
from collections import Counter
from collections.abc import Sequence

from service.domain.judgement import Fate, Handled, Judgement, Parked
from service.domain.notice import Outcome
from service.durations import Durations
from service.exposition import Labels


class LookCounts:
    """The fates of notices since the start, and the time from each notice to the commit of its look."""

    def __init__(self) -> None:
        self.fates: Counter[Labels] = Counter()
        self.commits = Durations()

    def count_served(self, imp_uids: Sequence[str]) -> None:
        """Count notices that a stored look answers."""
        if imp_uids:
            self.fates[Outcome.SERVED, "handled"] += len(imp_uids)

    def count(self, judgement: Judgement, claimed_at: float) -> None:
        """Count a judgement that is committed. `claimed_at`: by `time.monotonic`."""
        since = time.monotonic() - claimed_at
        for notice, fate in judgement.fates:
            end = _end(fate)
            self.fates[fate.outcome, end] += 1
            if end == "handled":
                self.commits.add(notice.age.total_seconds() + since)


def _end(fate: Fate) -> str:
    match fate:
        case Handled():
            return "handled"
        case Parked():
            return "parked"
        case _:
            return "postponed"
