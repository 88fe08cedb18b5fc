"""When an order's terms may still change: before its payment, and while it is open."""

from collections.abc import Iterable

from service.domain.order import Order
from service.domain.payment import Payment
from service.domain.settle import disagreements, was_paid


def money_came(order: Order, payments: Iterable[Payment]) -> bool:
    """Whether the terms are past changing: money is held for the order, or its price was paid and given back.

    Money that agrees with nothing counts while it is held: whoever paid it must not see the price follow.
    """
    return any(
        (payment.held and (payment.live or order.allow_test_channel))
        or (was_paid(payment) and not disagreements(order, payment))
        for payment in payments
    )
