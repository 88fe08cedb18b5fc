"""The type of an event in the feed: a stable name that says what the version changed."""

from dataclasses import dataclass

from service.domain.evidence import Cause
from service.domain.order import Closed, State


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """The facts of one version of an order on which an event's type depends."""

    state: State
    closed: Closed | None
    cancelled_amount: int


def event_type(cause: Cause, before: VersionFacts | None, after: VersionFacts) -> str:
    """Name the change from one version to the next. `before` None: the order was registered.

    - `order.registered`: it is new, and nothing was paid.
    - `order.` and its state (`order.paid`, `order.cancelled` …): its state or the amount given back has changed. So
      `order.paid` comes once each time that an order becomes paid, also by its registration.
    - `order.withdrawn`, `order.expired`: it was closed. `order.reopened`: it is not any more.
    - `order.amended`: the shop changed its terms.
    - `order.changed`: anything else, such as a problem that a person must see.
    """
    if before is None:
        return "order.registered" if after.state is State.PENDING else f"order.{after.state}"
    if (before.state, before.cancelled_amount) != (after.state, after.cancelled_amount):
        return f"order.{after.state}"
    if before.closed != after.closed:
        return f"order.{after.closed or 'reopened'}"
    return "order.amended" if cause is Cause.AMENDMENT else "order.changed"


# Every name that `event_type` can return.
EVENT_TYPES = (
    "order.registered",
    *(f"order.{state}" for state in State),
    *(f"order.{closed}" for closed in Closed),
    "order.reopened",
    "order.amended",
    "order.changed",
)
