"""When an order's terms may still change: before its payment, and while it is open."""

from collections.abc import Iterable

from service.domain.order import Order
from service.domain.payment import Payment
from service.domain.settle import settle


def money_came(order: Order, payments: Iterable[Payment]) -> bool:
    """Whether the terms are past changing: money is held for the order, or its price was paid and given back.

    Money that agrees with nothing counts while it is held: whoever paid it must not see the price follow.
    """
    found = tuple(payments)
    held = any(payment.held for payment in found if payment.live or order.allow_test_channel)
    return held or settle(order, found).paid_amount > 0
