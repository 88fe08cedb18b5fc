"""The health of the promise, not of a process: every notice is looked at in time, and PortOne's list is walked."""

from service.db.promise import Measure
from service.settings import Settings


def broken_promises(measured: Measure, settings: Settings, feed_lag_seconds: float = 0.0) -> list[str]:
    """Return a sentence for each limit that is passed, so none while the promise is kept."""
    limits = (
        (measured.overdue_seconds, settings.promise_age_seconds, "a notice has been due for {:.0f} s"),
        (measured.ledger_lag_seconds, settings.promise_lag_seconds, "the last ledger scan ended {:.0f} s ago"),
        (measured.parked_notices, settings.promise_parked, "{} notices are parked"),
        (feed_lag_seconds, settings.promise_feed_lag_seconds, "the feed has held an event back for {:.0f} s"),
        (measured.keys_refused, 0, "PortOne refuses {} of our keys"),
    )
    return [sentence.format(value) for value, limit, sentence in limits if value is not None and value > limit]
