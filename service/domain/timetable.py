"""When things happen: every wait of the service in one place, so that one setting can scale them all."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Self


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
    backoff_unregistered: timedelta = timedelta(minutes=5)
    # Nobody speaks of an order: it is asked about after so long, then so long again …; the last one repeats.
    silence: tuple[timedelta, ...] = (
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *[timedelta(hours=1)] * 24,
        timedelta(days=1),
    )
    # PortOne's own list is walked until a page agrees; once a day to its end.
    ledger: timedelta = timedelta(seconds=60)
    ledger_whole: timedelta = timedelta(days=1)
    # A PortOne that is down is left alone for so long, doubled up to the last, between probes.
    probe_first: timedelta = timedelta(seconds=1)
    probe_last: timedelta = timedelta(seconds=30)
    # Orders that appeared after their payment or their notices; a safety net, so it may be slow.
    late_orders: timedelta = timedelta(minutes=1)
    # Money goes back only if the finding has stood for so long: a late webhook or an amended order ends it.
    refund_after: timedelta = timedelta(minutes=10)
    # A worker that takes one up has a look (6 s) to make; what a dead one took is taken up again after this.
    refund_lease: timedelta = timedelta(seconds=8)
    # What may not be sent now, for the hourly cap or for want of a fresh look, is tried again after this.
    refund_held: timedelta = timedelta(minutes=5)
    # A refund that was asked for is looked at after so long, then as long again as it has waited, up to the last.
    refund_look_first: timedelta = timedelta(seconds=10)
    refund_look_last: timedelta = timedelta(minutes=10)
    # Nobody has seen it happen by then: it is a person's.
    refund_unknown: timedelta = timedelta(hours=1)
    # REFUND_MAX_PER_HOUR's hour.
    refund_window: timedelta = timedelta(hours=1)

    def scaled(self, factor: float) -> Self:
        """The same timetable, `factor` times as slow (0.01: a hundred times as fast)."""
        return replace(self, **{field.name: _scale(getattr(self, field.name), factor) for field in fields(self)})


def _scale(waits: Any, factor: float) -> Any:
    return tuple(wait * factor for wait in waits) if isinstance(waits, tuple) else waits * factor
