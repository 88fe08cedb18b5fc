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
    """A kind of refusal, as the caller learns it; the values are the problem documents' stable types.

    Anybody may ask, so "not payable" does not tell whether an order exists, is paid, or has an amount.
    """

    NOT_PAYABLE = "not-payable"
    OUT_OF_STOCK = "out-of-stock"
    UNSURE = "unsure"


class NotPayable(StrEnum):
    """A reason why an order may not be paid. It is for the log, and for no caller."""

    NOT_REGISTERED = "order_not_registered"
    WITHDRAWN = "order_withdrawn"
    EXPIRED = "order_expired"
    MONEY_HELD = "money_held"
    UNREADABLE_PAYMENT = "unreadable_payment"
    WRONG_AMOUNT = "wrong_amount"


@dataclass(frozen=True, slots=True)
class Question:
    """A payment that PortOne is about to approve.

    `amount` is V1's decimal. None: the provider's variant of the question has none (docs/portone.md §4.25).
    """

    imp_uid: str
    merchant_uid: str
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: its kind, and the shop's own sentence where it has one."""

    kind: ConfirmationRefusal
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class Payable:
    """The stored facts of the order that a payment is about to be made for.

    `unreadable`: it has a payment that cannot be read, and that may hold money.
    """

    terms: Order
    state: State
    closed: Closed | None
    expires_at: datetime
    unreadable: bool = False


def reason_not_payable(order: Payable | None, amount: Decimal | None, now: datetime) -> NotPayable | None:
    """Say why the order may not be paid with V1's decimal amount, in its own currency. None: it may.

    Where no amount is named, the rest is judged.
    """
    if order is None:
        return NotPayable.NOT_REGISTERED
    if order.state in HOLDS_MONEY:
        return NotPayable.MONEY_HELD
    if order.unreadable:
        return NotPayable.UNREADABLE_PAYMENT
    match order.closed:
        case Closed.WITHDRAWN:
            return NotPayable.WITHDRAWN
        case Closed.EXPIRED:
            return NotPayable.EXPIRED
        case None:
            pass
    if order.expires_at <= now:
        return NotPayable.EXPIRED
    return None if amount is None or _agrees(order.terms, amount) else NotPayable.WRONG_AMOUNT


def _agrees(terms: Order, amount: Decimal) -> bool:
    try:
        return to_minor(amount, terms.currency) == terms.amount
    except InexactAmount:
        return False
