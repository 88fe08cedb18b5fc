"""Orders: the shop's terms, registered before payment, and the state that their payments lead to."""

from dataclasses import dataclass, field
from enum import StrEnum

from service.domain.payment import Store


class State(StrEnum):
    """The state of an order, for other services to rely on. docs/states.md, which a test checks, describes each."""

    PENDING = "pending"
    AWAITING_DEPOSIT = "awaiting_deposit"
    PAID = "paid"
    PARTIALLY_CANCELLED = "partially_cancelled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    MISMATCHED = "mismatched"


@dataclass(frozen=True, slots=True)
class _Traits:
    """The consequences of a state, for every place where the service decides by it."""

    # Reconciliation goes on asking PortOne about the order: money may still come.
    asked_about: bool
    # The order expires when its time is over.
    expires: bool
    # A payment holds money of the order or for it: it may not be paid again.
    holds_money: bool
    # Money came, and stayed or was given back: no later look gives a completion call a better answer.
    is_reached: bool


# Every state is listed: a new one fails at import until each question has been answered for it.
_TRAITS = {
    State.PENDING: _Traits(asked_about=True, expires=True, holds_money=False, is_reached=False),
    State.AWAITING_DEPOSIT: _Traits(asked_about=True, expires=True, holds_money=False, is_reached=False),
    State.PAID: _Traits(asked_about=False, expires=False, holds_money=True, is_reached=True),
    State.PARTIALLY_CANCELLED: _Traits(asked_about=False, expires=False, holds_money=True, is_reached=True),
    State.CANCELLED: _Traits(asked_about=False, expires=False, holds_money=False, is_reached=True),
    State.FAILED: _Traits(asked_about=True, expires=True, holds_money=False, is_reached=False),
    State.MISMATCHED: _Traits(asked_about=True, expires=False, holds_money=True, is_reached=False),
}
ASKED_ABOUT = frozenset(state for state in State if _TRAITS[state].asked_about)
EXPIRES = frozenset(state for state in State if _TRAITS[state].expires)
HOLDS_MONEY = frozenset(state for state in State if _TRAITS[state].holds_money)
IS_REACHED = frozenset(state for state in State if _TRAITS[state].is_reached)
# States that report no money: a payment that holds some for such an order was left behind.
WITHOUT_MONEY = frozenset(State) - HOLDS_MONEY - {State.CANCELLED}


class Closed(StrEnum):
    """The reason why an order takes no more payments: a field beside the state, because money may still come."""

    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class ProblemKind(StrEnum):
    """The kinds of problem, each of which a person must see."""

    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    WRONG_STORE = "wrong_store"
    TEST_CHANNEL = "test_channel"
    DUPLICATE_PAYMENT = "duplicate_payment"
    REGRESSED_PAYMENT = "regressed_payment"
    REFUND_UNKNOWN = "refund_unknown"
    PAID_AFTER_CLOSE = "paid_after_close"
    BILLING_KEY_ISSUE = "billing_key_issue"
    UNREADABLE_PAYMENT = "unreadable_payment"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A finding about one payment of an order; open for as long as `settle` finds it."""

    kind: ProblemKind
    imp_uid: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order's terms. `amount` is in the currency's smallest unit, and positive.

    `allow_billing_key_issue`: a payment whose window issues a billing key pays the order like any other. `closed` is no
    term that the shop gives, so terms that differ only in it are equal.
    """

    merchant_uid: str
    amount: int
    currency: str
    store: Store
    allow_test_channel: bool = False
    allow_billing_key_issue: bool = False
    closed: Closed | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The effect of the payments on the order; `paid_amount` counts only money that agrees with the order.

    `test_channel`: the deciding payment was made on a test channel, which the deployment allows.
    """

    state: State = State.PENDING
    paid_amount: int = 0
    cancelled_amount: int = 0
    imp_uid: str | None = None
    problems: tuple[Problem, ...] = ()
    test_channel: bool = False


@dataclass(frozen=True, slots=True)
class VersionedOrder:
    """An order's terms, its settlement, and the version that a write must still find."""

    terms: Order
    settlement: Settlement
    version: int
