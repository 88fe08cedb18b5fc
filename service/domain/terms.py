"""The rules for changing an order's terms and for closing it: only before its payment, and while it is open."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from service.domain.order import EXPIRES, Order, VersionedOrder
from service.domain.payment import Payment, Status
from service.domain.settle import disagreements, was_paid


def money_came(order: Order, payments: Iterable[Payment]) -> bool:
    """Return whether it is too late to change: money is held for the order, or its price was paid and given back.

    Money that disagrees with the terms counts too while it is held: the price must not follow a payment. So does a
    payment that cannot be read, because it may hold money.
    """
    return any(
        payment.unreadable
        or (payment.held and (payment.live or order.allow_test_channel))
        or (was_paid(payment) and not disagreements(order, payment))
        for payment in payments
    )


def awaits_deposit(order: Order, expires_at: datetime, payments: Iterable[Payment], since: datetime) -> bool:
    """Return whether an account that was issued for the order was due after `since`, so that money may be on its way.

    `since` is now less a grace, because some providers keep an account open until midnight of its due day, whatever
    hour it names. An account whose due date is not known is taken to end with the order.
    """
    return any(
        (_due_at(payment) or expires_at) > since
        for payment in payments
        if payment.status is Status.ISSUED and (payment.live or order.allow_test_channel)
    )


def is_over(
    order: VersionedOrder, expires_at: datetime, payments: Iterable[Payment], now: datetime, grace: timedelta
) -> bool:
    """Return whether the order expires now: it is open, nobody paid it, and no account takes a deposit any more."""
    payments = list(payments)
    return (
        order.terms.closed is None
        and order.settlement.state in EXPIRES
        and expires_at <= now
        and not money_came(order.terms, payments)
        and not awaits_deposit(order.terms, expires_at, payments, now - grace)
    )


def _due_at(payment: Payment) -> datetime | None:
    due = dict(payment.details).get("vbank_date")
    return datetime.fromtimestamp(due, UTC) if isinstance(due, int) else None
