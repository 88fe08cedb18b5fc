"""When things happen: every wait of the service in one place, so that one setting can scale them all."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Self


@dataclass(frozen=True, slots=True)
class Timetable:
    """Each wait with its reason. A test or the fault harness runs hours in seconds with `scaled`."""

    # A notice that was recorded and queued is taken up again if no worker claimed it by then.
    queued: timedelta = timedelta(seconds=3)
    # A look has 6 s in all; what a dead worker held is taken up again after this.
    lease: timedelta = timedelta(seconds=8)
    # A payment is looked at no more than twice a second.
    spacing: timedelta = timedelta(seconds=0.5)
    # So long a notice stays open whose order nobody registered, or whose payment PortOne does not know.
    grace: timedelta = timedelta(minutes=10)
    # The same lesser answer, this much later, is no replica's lag any more: it is PortOne's truth.
    regression: timedelta = timedelta(seconds=60)
    # After a failure to ask: doubled with each try, from the first to the last.
    backoff_first: timedelta = timedelta(seconds=1)
    backoff_last: timedelta = timedelta(seconds=60)

    def scaled(self, factor: float) -> Self:
        """The same timetable, `factor` times as slow (0.01: a hundred times as fast)."""
        return replace(self, **{field.name: getattr(self, field.name) * factor for field in fields(self)})
