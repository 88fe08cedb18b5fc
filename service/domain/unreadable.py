"""Payments that PortOne speaks of in a way that no rule can use. Money may be there, so a person must see them."""

from dataclasses import dataclass

from service.domain.payment import Payment, Status, Store


@dataclass(frozen=True, slots=True)
class UnreadablePayment:
    """A payment that may hold money, of which a rule cannot read what it needs.

    `odd` holds each field that could not be read and PortOne's value of it, bounded, for people. `merchant_uid` is None
    if the payment names no readable order. Amount (in the smallest unit), currency and `live` are given if readable.
    """

    imp_uid: str
    merchant_uid: str | None
    store: Store
    odd: tuple[tuple[str, str], ...]
    amount: int | None = None
    currency: str | None = None
    live: bool | None = None


@dataclass(frozen=True, slots=True)
class StoredUnreadable:
    """An unreadable payment as stored, and the ticket of the write that stored it."""

    payment: UnreadablePayment
    written_ticket: int


def stand_in(merchant_uid: str, payment: UnreadablePayment) -> Payment:
    """Return what stands for a payment of which no readable answer is stored, as `settle` takes it.

    It has the standing of a window that was only opened, which decides nothing, and it opens a problem.
    """
    return Payment(
        payment.imp_uid, merchant_uid, payment.store, Status.READY, 0, payment.currency or "", unreadable=True
    )
