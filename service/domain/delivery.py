"""Outgoing webhooks: what came of an attempt, when it is tried again, and when an endpoint counts as down. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

# This many failures without a success between them, and the endpoint gets a few probes instead of every event.
DOWN_AFTER = 10
_JITTER = 0.2
# An endpoint that is down is probed again after a tenth of the time that it has been down, within the bounds.
_PROBE_SHARE = 0.1
_GONE = 410
# Seconds, and the factor of the mean.
_PATIENCE_FACTOR, _PATIENCE_LEAST, _PATIENCE_UNKNOWN, _PATIENCE_MOST = 4, 0.25, 1.0, 3.0


class Disabled(StrEnum):
    """The reasons for which an endpoint is disabled."""

    GONE = "it answered 410 Gone"
    FAILING = "every attempt failed for too long"
    OPERATOR = "disabled by a person"


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt at a delivery. `status` is None if no answer came; `failure` says why, or has what was answered."""

    status: int | None
    seconds: float
    failure: str | None = None
    retry_after: timedelta = timedelta()

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Return whether the endpoint asks for no more, which Standard Webhooks has it say by 410."""
        return self.status == _GONE


def wait_before(schedule: Sequence[timedelta], tries: int, chance: float, at_least: timedelta) -> timedelta | None:
    """Return the wait after the nth failure, or None to give up. `chance`, from 0 to 1, spreads the waits by a fifth.

    `at_least` is what the endpoint asked for; it is heeded up to the schedule's longest wait.
    """
    if tries > len(schedule):
        return None
    wait = schedule[tries - 1] * (1 + _JITTER * (2 * chance - 1))
    return max(wait, min(at_least, schedule[-1]))


def patience_seconds(answered: Sequence[float]) -> float:
    """Return how long a turn waits for a delivery, from how long those took that were answered in it.

    A delivery is slow beside its neighbours: one that stalls holds up no quick endpoint for long, and an endpoint that
    takes its time with each is left to.
    """
    if not answered:
        return _PATIENCE_UNKNOWN
    return min(max(_PATIENCE_FACTOR * sum(answered) / len(answered), _PATIENCE_LEAST), _PATIENCE_MOST)


def is_down(failures: int) -> bool:
    """Return whether an endpoint with this many failures since its last success gets probes alone."""
    return failures >= DOWN_AFTER


def wait_for_probe(failing: timedelta, first: timedelta, last: timedelta) -> timedelta:
    """Return the wait until an endpoint is probed that has failed for so long."""
    return min(max(failing * _PROBE_SHARE, first), last)
