"""A payment: one attempt at paying an order, as PortOne reported it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """How far a payment has come. V1's `ready` is two things: a window left open, or an account issued."""

    READY = "ready"
    ISSUED = "issued"
    FAILED = "failed"
    PAID = "paid"
    CANCELLED = "cancelled"


# DESIGN.md §1: ready < account issued < failed < paid < cancelled.
RANK = {
    Status.READY: 0,
    Status.ISSUED: 1,
    Status.FAILED: 2,
    Status.PAID: 3,
    Status.CANCELLED: 4,
}


@dataclass(frozen=True, slots=True, order=True)
class Progress:
    """How far a payment has come. It only ever grows, but for a confirmed regression."""

    rank: int
    cancelled_amount: int
    cancellations: int


# The account that PORTONE_IMP_KEY opens; PORTONE_ACCOUNTS names the others.
ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Store:
    """Whose payment it is: a PortOne account and, under it, a sub-store's tier ('' = none)."""

    account: str
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Payment:
    """What PortOne said of one payment. Amounts are in the currency's smallest unit.

    `details` is the allow-listed rest (method, channel, account, receipt …), kept for people and never
    decided upon. `regressed` and `refund_unknown` are our own words: PortOne has since answered less,
    unconfirmed; and we asked for its refund and never learnt what came of it.
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

    @property
    def progress(self) -> Progress:
        return Progress(RANK[self.status], self.cancelled_amount, self.cancellations)

    @property
    def held(self) -> int:
        """The money that PortOne holds for this payment now; never less than none."""
        match self.status:
            case Status.PAID:
                return max(0, self.amount - self.cancelled_amount)
            case Status.CANCELLED if self.cancelled_amount:
                # V1 also says `cancelled` after a partial refund.
                return max(0, self.amount - self.cancelled_amount)
            case Status.CANCELLED | Status.READY | Status.ISSUED | Status.FAILED:
                return 0
