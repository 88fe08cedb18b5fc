"""Comparing what PortOne said of a payment with an order's terms, field by field, for a person to read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.order import Order, ProblemKind
from service.domain.payment import Payment, Status, Store
from service.domain.settle import disagreements

# The problem that says of each field that it differs: the rule itself is `disagreements`.
_DIFFERS = {
    "amount": ProblemKind.WRONG_AMOUNT,
    "currency": ProblemKind.WRONG_CURRENCY,
    "store": ProblemKind.WRONG_STORE,
    "channel": ProblemKind.TEST_CHANNEL,
}


@dataclass(frozen=True, slots=True)
class ComparedField:
    """A field of the order's terms beside PortOne's word. An amount is in the smallest unit of its own currency."""

    name: str
    term: str | int
    told: str | int
    agrees: bool


def payment_of(order: Order, facts: Mapping[str, Any]) -> Payment | None:
    """Return the payment that an event's facts describe; None if PortOne's answer could not be read."""
    if facts.get("unreadable"):
        return None
    return Payment(
        facts["imp_uid"],
        order.merchant_uid,
        Store(facts["account"], facts["tier"]),
        Status(facts["status"]),
        facts["amount"],
        facts["currency"],
        cancelled_amount=facts["cancelled_amount"],
        live=facts["live"],
    )


def compare(order: Order, payment: Payment) -> tuple[ComparedField, ...]:
    """Return each field that must agree, with whether it does."""
    wrong = disagreements(order, payment)
    sides: dict[str, tuple[str | int, str | int]] = {
        "amount": (order.amount, payment.amount),
        "currency": (order.currency, payment.currency),
        "store": (_name(order.store), _name(payment.store)),
        "channel": ("live or test" if order.allow_test_channel else "live", "live" if payment.live else "test"),
    }
    return tuple(ComparedField(name, *sides[name], kind not in wrong) for name, kind in _DIFFERS.items())


def _name(store: Store) -> str:
    return f"{store.account}/{store.tier}" if store.tier else store.account
