"""The health of the promise, not of a process: every notice is looked at in time, and PortOne's list is walked."""

from service.db.promise import Measure
from service.settings import Settings

# The limits by their names in the metrics.
LIMITS = ("overdue", "ledger_lag", "parked", "feed_lag", "keys_refused")


def broken_promises(measured: Measure, settings: Settings, feed_lag_seconds: float = 0.0) -> list[str]:
    """Return a sentence for each limit that is passed, so none while the promise is kept."""
    return list(broken_limits(measured, settings, feed_lag_seconds).values())


def broken_limits(measured: Measure, settings: Settings, feed_lag_seconds: float) -> dict[str, str]:
    """Return the limits that are passed, by name, each with its sentence."""
    values = (
        (measured.overdue_seconds, settings.promise_age_seconds, "a notice has been due for {:.0f} s"),
        (measured.ledger_lag_seconds, settings.promise_lag_seconds, "the last ledger scan ended {:.0f} s ago"),
        (measured.parked_notices, settings.promise_parked, "{} notices are parked"),
        (feed_lag_seconds, settings.promise_feed_lag_seconds, "the feed has held an event back for {:.0f} s"),
        (measured.keys_refused, 0, "PortOne refuses {} of our keys"),
    )
    return {
        name: sentence.format(value)
        for name, (value, limit, sentence) in zip(LIMITS, values, strict=True)
        if value is not None and value > limit
    }
