"""Evidence: what led to a version of an order, kept with its event for whoever asks later why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID

from service.domain.notice import OpenNotice, Source
from service.domain.payment import Payment
from service.domain.unreadable import UnreadablePayment

# An order may have thousands of payments, and its events are kept forever.
_PAYMENTS_MAX = 5

# What PortOne said of a payment.
Told = Payment | UnreadablePayment


class Cause(StrEnum):
    """The kind of thing that led to a version of an order."""

    REGISTRATION = "registration"
    AMENDMENT = "amendment"
    LOOK = "look"
    WITHDRAWAL = "withdrawal"
    EXPIRY = "expiry"
    ACCEPTANCE = "acceptance"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The reason of one version of an order.

    A look has its ticket, the time at which it began, and the notice that wanted it. `facts` is what PortOne said of
    each payment in that look or, with another cause, what was stored of them. `who` and `why` are a person's.
    """

    cause: Cause = Cause.LOOK
    notice_id: UUID | None = None
    source: Source | None = None
    looked_at: datetime | None = None
    ticket: int | None = None
    facts: tuple[Mapping[str, Any], ...] = ()
    who: str | None = None
    why: str | None = None


def of_stored(cause: Cause, payments: Iterable[Payment], who: str | None = None, why: str | None = None) -> Evidence:
    """Return the evidence of a change that was decided by stored payments."""
    return Evidence(cause, facts=_facts(payments), who=who, why=why)


def of_looks(claimed: Sequence[OpenNotice], answered: Iterable[Told], ticket: int) -> dict[str, Evidence]:
    """Return the evidence for each order that the answers of a look name, by merchant_uid.

    Of several notices about one payment the first stands for all.
    """
    notices = {notice.imp_uid: notice for notice in reversed(claimed)}
    by_order: dict[str, list[Told]] = {}
    for payment in answered:
        if payment.merchant_uid is not None:
            by_order.setdefault(payment.merchant_uid, []).append(payment)
    return {
        merchant_uid: _of_look(notices.get(payments[0].imp_uid), payments, ticket)
        for merchant_uid, payments in by_order.items()
    }


def _of_look(notice: OpenNotice | None, payments: Sequence[Told], ticket: int) -> Evidence:
    facts = _facts(payments)
    if notice is None:
        return Evidence(ticket=ticket, facts=facts)
    return Evidence(Cause.LOOK, notice.id, notice.source, notice.looked_at, ticket, facts)


def _facts(payments: Iterable[Told]) -> tuple[Mapping[str, Any], ...]:
    return tuple(_facts_of(payment) for payment in islice(payments, _PAYMENTS_MAX))


def _facts_of(payment: Told) -> Mapping[str, Any]:
    """Return what a rule reads of a payment, and nothing personal. What cannot be read stands with its problem."""
    where = {"imp_uid": payment.imp_uid, "account": payment.store.account, "tier": payment.store.tier}
    if isinstance(payment, UnreadablePayment) or payment.unreadable:
        return where | {"unreadable": True}
    return where | {
        "status": payment.status.value,
        "amount": payment.amount,
        "currency": payment.currency,
        "cancelled_amount": payment.cancelled_amount,
        "live": payment.live,
    }
