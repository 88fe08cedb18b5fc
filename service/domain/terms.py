"""The rule for changing an order's terms: only before its payment, and while it is open."""

from collections.abc import Iterable

from service.domain.order import Order
from service.domain.payment import Payment
from service.domain.settle import disagreements, was_paid


def money_came(order: Order, payments: Iterable[Payment]) -> bool:
    """Return whether it is too late to change: money is held for the order, or its price was paid and given back.

    Money that disagrees with the terms counts too while it is held: the price must not follow a payment.
    """
    return any(
        (payment.held and (payment.live or order.allow_test_channel))
        or (was_paid(payment) and not disagreements(order, payment))
        for payment in payments
    )
