"""The answer to `confirm_url`, just before PortOne approves a payment: may this order be paid, with this amount?

It holds back stock and wrong amounts. It is never the only gate, because a browser can leave `confirm_url` out.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from service.domain.money import InexactAmount, to_minor
from service.domain.order import HOLDS_MONEY, Closed, Order, State


class ConfirmationRefusal(StrEnum):
    """A reason why a payment may not go on; the values are the problem documents' stable types."""

    NOT_REGISTERED = "order-not-registered"
    WITHDRAWN = "order-withdrawn"
    EXPIRED = "order-expired"
    MONEY_HELD = "money-came"
    WRONG_AMOUNT = "wrong-amount"
    OUT_OF_STOCK = "out-of-stock"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Question:
    """A payment that PortOne is about to approve; `amount` is V1's decimal."""

    imp_uid: str
    merchant_uid: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: the reason, and the shop's own sentence where it has one."""

    why: ConfirmationRefusal
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class Payable:
    """The stored facts of the order that a payment is about to be made for."""

    terms: Order
    state: State
    closed: Closed | None
    expires_at: datetime


def refusal(order: Payable | None, amount: Decimal, now: datetime) -> ConfirmationRefusal | None:
    """Say why the order may not be paid with V1's decimal amount, in its own currency. None: it may."""
    if order is None:
        return ConfirmationRefusal.NOT_REGISTERED
    if order.state in HOLDS_MONEY:
        return ConfirmationRefusal.MONEY_HELD
    match order.closed:
        case Closed.WITHDRAWN:
            return ConfirmationRefusal.WITHDRAWN
        case Closed.EXPIRED:
            return ConfirmationRefusal.EXPIRED
        case None:
            pass
    if order.expires_at <= now:
        return ConfirmationRefusal.EXPIRED
    return None if _agrees(order.terms, amount) else ConfirmationRefusal.WRONG_AMOUNT


def _agrees(terms: Order, amount: Decimal) -> bool:
    try:
        return to_minor(amount, terms.currency) == terms.amount
    except InexactAmount:
        return False
