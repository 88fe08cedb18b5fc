"""An order: the shop's terms, registered before payment, and what its payments have made of it."""

from dataclasses import dataclass
from enum import StrEnum

from service.domain.payment import Store


class State(StrEnum):
    """What other services may rely on. Each is described in docs/states.md, which a test holds to this."""

    PENDING = "pending"
    AWAITING_DEPOSIT = "awaiting_deposit"
    PAID = "paid"
    PARTIALLY_CANCELLED = "partially_cancelled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    MISMATCHED = "mismatched"


class Closed(StrEnum):
    """Why an order takes no payment any more: a field beside the state, for money may come all the same."""

    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class ProblemKind(StrEnum):
    """What a person must see."""

    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    WRONG_STORE = "wrong_store"
    TEST_CHANNEL = "test_channel"
    DUPLICATE_PAYMENT = "duplicate_payment"
    REGRESSED_PAYMENT = "regressed_payment"
    REFUND_UNKNOWN = "refund_unknown"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A finding about one payment of an order; open for as long as `settle` finds it."""

    kind: ProblemKind
    imp_uid: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order's terms. `amount` is in the currency's smallest unit, and positive."""

    merchant_uid: str
    amount: int
    currency: str
    store: Store
    allow_test_channel: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the payments mean for the order; `paid_amount` counts only money that agrees with the order.

    `test_channel`: the payment that decides was made on a test channel, which the deployment lets in.
    """

    state: State = State.PENDING
    paid_amount: int = 0
    cancelled_amount: int = 0
    imp_uid: str | None = None
    problems: tuple[Problem, ...] = ()
    test_channel: bool = False
