"""The timetable: every wait of the service in one place, so that one setting can scale them all."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Timetable:
    """Each wait with its reason. A test or the fault harness runs hours in seconds with `scaled`."""

    # A notice that was recorded and queued is due again after this, unless a worker claimed it.
    queued: timedelta = timedelta(seconds=3)
    # A claim ends after this, in case its worker died. A look has 6 s in all.
    lease: timedelta = timedelta(seconds=8)
    # A search has a list (6 s) and a look (6 s) to make; one of a dead worker is taken up again after this.
    search_lease: timedelta = timedelta(seconds=15)
    # A payment is looked at no more than twice a second.
    spacing: timedelta = timedelta(seconds=0.5)
    # A notice stays open this long if nobody registered its order, or if PortOne does not know its payment.
    grace: timedelta = timedelta(minutes=10)
    # The same lesser answer this much later is PortOne's truth, not the lag of a replica.
    regression: timedelta = timedelta(seconds=60)
    # After a failure to ask: doubled with each try, from the first to the last.
    backoff_first: timedelta = timedelta(seconds=1)
    backoff_last: timedelta = timedelta(seconds=60)
    backoff_unknown: timedelta = timedelta(minutes=5)
    # Waits between the questions about an order that no notice names; the last one repeats.
    silence: tuple[timedelta, ...] = (
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *[timedelta(hours=1)] * 24,
        timedelta(days=1),
    )
    # An order whose time is over is asked about once more, and again after this if that does not close it.
    expiry_retry: timedelta = timedelta(seconds=10)
    # An account takes deposits this long after its due date (DEPOSIT_GRACE_HOURS): some providers count to midnight.
    deposit_grace: timedelta = timedelta(days=1)
    # Time between two walks of PortOne's own list: until a page agrees, and once a day to its end.
    ledger: timedelta = timedelta(seconds=60)
    ledger_whole: timedelta = timedelta(days=1)
    # Time between probes of a PortOne that is down: doubled each time, from the first to the last.
    probe_first: timedelta = timedelta(seconds=1)
    probe_last: timedelta = timedelta(seconds=30)
    # Time between two replays of notices whose order was registered late; a safety net, so it may be slow.
    late_orders: timedelta = timedelta(minutes=1)
    # Money goes back only if its problem is this old: a late webhook or an amended order may end the problem.
    refund_after: timedelta = timedelta(minutes=10)
    # A refund is due again after this, in case the worker that took it died. A look has 6 s in all.
    refund_lease: timedelta = timedelta(seconds=8)
    # A refund that may not be sent now (hourly cap, no fresh look) is tried again after this.
    refund_retry: timedelta = timedelta(minutes=5)
    # A refund that was asked for is looked at after the first wait, then each time its age has doubled, up to the last.
    refund_look_first: timedelta = timedelta(seconds=10)
    refund_look_last: timedelta = timedelta(minutes=10)
    # A refund that no look has shown by then is left to a person.
    refund_unknown: timedelta = timedelta(hours=1)
    # The first answer to a call with an Idempotency-Key is kept this long.
    idempotency_kept: timedelta = timedelta(days=1)
    # A call that runs longer than this is taken to have died with its process. It waits 20 s for PortOne at most.
    idempotency_lease: timedelta = timedelta(seconds=30)
    # Waits between the attempts at one outgoing webhook, nearly three days together; then it is given up.
    deliveries: tuple[timedelta, ...] = (
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(minutes=30),
        *(timedelta(hours=hours) for hours in (1, 2, 4, 8, 12, 12, 16, 16)),
    )
    # An endpoint that is down is probed at these intervals at the closest and at the widest, and disabled after a day.
    probe_endpoint_first: timedelta = timedelta(seconds=1)
    probe_endpoint_last: timedelta = timedelta(minutes=1)
    endpoint_failing: timedelta = timedelta(days=1)
    # The hour of REFUND_MAX_PER_HOUR.
    refund_window: timedelta = timedelta(hours=1)

    def scaled(self, factor: float) -> Self:
        """Return the timetable with every wait `factor` times as long (0.01: a hundred times as fast)."""
        return replace(self, **{field.name: _scale(getattr(self, field.name), factor) for field in fields(self)})


def _scale(waits: Any, factor: float) -> Any:
    return tuple(wait * factor for wait in waits) if isinstance(waits, tuple) else waits * factor
