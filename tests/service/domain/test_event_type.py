"""An event's type names what its version changed."""

import pytest

from service.domain.event_type import EVENT_TYPES, VersionFacts, event_type
from service.domain.evidence import Cause
from service.domain.order import Closed, State

PENDING = VersionFacts(State.PENDING, None, 0)
PAID = VersionFacts(State.PAID, None, 0)
PART = VersionFacts(State.PARTIALLY_CANCELLED, None, 100)


@pytest.mark.parametrize(
    ("cause", "before", "after", "name"),
    [
        (Cause.REGISTRATION, None, PENDING, "order.registered"),
        (Cause.REGISTRATION, None, PAID, "order.paid"),
        (Cause.LOOK, PENDING, PAID, "order.paid"),
        (Cause.LOOK, PAID, PAID, "order.changed"),
        (Cause.LOOK, PAID, PART, "order.partially_cancelled"),
        (Cause.LOOK, PART, VersionFacts(State.PARTIALLY_CANCELLED, None, 200), "order.partially_cancelled"),
        (Cause.AMENDMENT, PENDING, PENDING, "order.amended"),
        (Cause.AMENDMENT, VersionFacts(State.MISMATCHED, None, 0), PENDING, "order.pending"),
        (Cause.WITHDRAWAL, PENDING, VersionFacts(State.PENDING, Closed.WITHDRAWN, 0), "order.withdrawn"),
        (Cause.EXPIRY, PENDING, VersionFacts(State.PENDING, Closed.EXPIRED, 0), "order.expired"),
        (Cause.ACCEPTANCE, VersionFacts(State.PAID, Closed.EXPIRED, 0), PAID, "order.reopened"),
        (Cause.ACCEPTANCE, VersionFacts(State.PENDING, Closed.EXPIRED, 0), PAID, "order.paid"),
    ],
)
def test_the_name_of_a_change(cause: Cause, before: VersionFacts | None, after: VersionFacts, name: str) -> None:
    """Each kind of change has its name, and a name that a follower acts on comes once for each change."""
    assert event_type(cause, before, after) == name


def test_every_change_has_a_known_name() -> None:
    """Any two versions give one of the documented names."""
    every = [VersionFacts(state, closed, given) for state in State for closed in (None, *Closed) for given in (0, 1)]
    names = {event_type(cause, before, after) for cause in Cause for before in (None, *every) for after in every}
    assert names == set(EVENT_TYPES)
