"""Payments: attempts at paying an order, as PortOne reported them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """The status of a payment. V1's `ready` means two things: a window left open, or an account issued."""

    READY = "ready"
    ISSUED = "issued"
    FAILED = "failed"
    PAID = "paid"
    CANCELLED = "cancelled"


# docs/design.md §1: ready < account issued < failed < paid < cancelled.
RANK = {
    Status.READY: 0,
    Status.ISSUED: 1,
    Status.FAILED: 2,
    Status.PAID: 3,
    Status.CANCELLED: 4,
}


@dataclass(frozen=True, slots=True, order=True)
class Progress:
    """The progress of a payment. It only grows, except in a confirmed regression."""

    rank: int
    cancelled_amount: int
    cancellations: int


# The detail that tells a charge from the issue of a billing key (docs/portone.md §4.18).
CUSTOMER_UID_USAGE = "customer_uid_usage"
_ISSUED_A_KEY = (CUSTOMER_UID_USAGE, "issue")
# Providers that charge in the window that issues the key. PortOne's names of Danal's two begin alike.
_CHARGES_AT_ISSUE = frozenset({"jtnet", "danal", "danal_tpay", "mobilians", "kakaopay", "kakao"})

# The account of PORTONE_IMP_KEY; PORTONE_ACCOUNTS names the others.
ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Store:
    """A shop at PortOne: an account and, under it, a sub-store's tier ('' = none)."""

    account: str
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as PortOne reported it. Amounts are in the currency's smallest unit.

    `details` is the allow-listed rest (method, channel, account, receipt …), stored for people; only the rules of
    refunds and of billing keys read it. Three fields are ours, not PortOne's. `regressed`: PortOne has since reported
    less, not yet confirmed. `refund_unknown`: we asked for its refund and never learnt whether it happened.
    `unreadable`: PortOne's newest answer about it cannot be read, and it may hold money.
    """

    imp_uid: str
    merchant_uid: str
    store: Store
    status: Status
    amount: int
    currency: str
    cancelled_amount: int = 0
    cancellations: int = 0
    live: bool = True
    started_at: datetime | None = None
    paid_at: datetime | None = None
    details: tuple[tuple[str, str | int], ...] = ()
    regressed: bool = False
    refund_unknown: bool = False
    unreadable: bool = False

    @property
    def progress(self) -> Progress:
        return Progress(RANK[self.status], self.cancelled_amount, self.cancellations)

    @property
    def only_issued_key(self) -> bool:
        """Return whether its window issued a billing key, and as far as known charged nothing."""
        if _ISSUED_A_KEY not in self.details:
            return False
        provider = dict(self.details).get("pg_provider", "")
        return str(provider).lower() not in _CHARGES_AT_ISSUE

    @property
    def held(self) -> int:
        """The money that PortOne holds for this payment now; never negative."""
        match self.status:
            case Status.PAID:
                return max(0, self.amount - self.cancelled_amount)
            case Status.CANCELLED if self.cancelled_amount:
                # V1 also says `cancelled` after a partial refund.
                return max(0, self.amount - self.cancelled_amount)
            case Status.CANCELLED | Status.READY | Status.ISSUED | Status.FAILED:
                return 0
