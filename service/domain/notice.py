"""Notices: claims that a payment moved. A notice is a reason to look, never evidence."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from service.domain.payment import RANK, Status, Store


class Source(StrEnum):
    """The sender of a notice."""

    WEBHOOK = "webhook"
    COMPLETION = "completion"
    REDIRECT = "redirect"
    RECONCILE = "reconcile"
    SEARCH = "search"
    REFUND = "refund"
    OPERATOR = "operator"


# Work of our own, which gives way to what others say.
BACKGROUND = frozenset({Source.RECONCILE, Source.REFUND})


class Outcome(StrEnum):
    """The result of the last look for a notice, as its row names it."""

    LOOKED = "looked"
    SERVED = "served_by_stored_look"
    CLAIMS_MORE = "claims_more"
    REGRESSED = "regressed"
    ORDER_NOT_REGISTERED = "order_not_registered"
    ORDER_ARCHIVED = "order_archived"
    PAYMENT_UNKNOWN = "payment_unknown"
    PORTONE_UNAVAILABLE = "portone_unavailable"
    PORTONE_REFUSED = "portone_refused"
    ANSWER_UNREADABLE = "answer_unreadable"
    STORE_NOT_CONFIGURED = "store_not_configured"
    DISMISSED = "dismissed"


# A failure to ask is not an answer (docs/design.md §2.6).
NOT_ASKED = frozenset(
    {
        Outcome.PORTONE_UNAVAILABLE,
        Outcome.PORTONE_REFUSED,
        Outcome.ANSWER_UNREADABLE,
        Outcome.STORE_NOT_CONFIGURED,
    }
)


@dataclass(frozen=True, slots=True)
class Notice:
    """The known keys of a notice, each bounded; the rest of its body is never stored.

    `tier` is None if the notice names no sub-store, `account` if it names no account; a tier without an account is
    the default account's. `claimed_status` is PortOne's V1 word (`paid`, `ready`, `failed`, `cancelled`), or None.
    """

    id: UUID
    source: Source
    imp_uid: str
    merchant_uid: str | None = None
    tier: str | None = None
    claimed_status: str | None = None
    cancellation_id: str | None = None
    account: str | None = None

    @property
    def is_waited_for(self) -> bool:
        """Return whether a person at a browser waits for its look."""
        return self.source in (Source.COMPLETION, Source.REDIRECT, Source.SEARCH)


@dataclass(frozen=True, slots=True)
class OpenNotice:
    """A notice that this worker has claimed for a look: what it claims, and the store to ask for its payment.

    `hint` is another store, to be asked if the first knows no such payment. `registered`: its order is, by now.
    `arrivals` counts the notices that share this row. `age` is the time since it was received or last replayed, and
    `looked_at` the time of the claim, at which its look begins. One that was replayed claims nothing, so that PortOne
    is asked. `crowded`: several others of its order wait for another look already.
    """

    id: UUID
    source: Source
    registered: bool
    imp_uid: str
    store: Store
    hint: Store | None
    claimed_status: str | None
    arrivals: int
    tries: int
    age: timedelta
    looked_at: datetime | None = None
    crowded: bool = False

    @property
    def gives_way(self) -> bool:
        """Return whether its payment may be invented, so that notices of real ones go first."""
        return self.crowded or not self.registered


# The least progress that a claim can mean; "ready" may be no more than a window left open.
_CLAIMED_RANK = {
    "ready": RANK[Status.READY],
    "failed": RANK[Status.FAILED],
    "paid": RANK[Status.PAID],
    "cancelled": RANK[Status.CANCELLED],
}


def claims_more_than(source: Source, claimed_status: str | None, stored: Status) -> bool:
    """Return whether a notice claims more than PortOne's answer shows: a reason to look again soon, no more.

    A browser claims `paid` for every window that ended, also for an account that waits for its deposit.
    """
    if source in (Source.COMPLETION, Source.REDIRECT) and stored in (Status.ISSUED, Status.FAILED):
        return False
    return _CLAIMED_RANK.get(claimed_status or "", 0) > RANK[stored]
