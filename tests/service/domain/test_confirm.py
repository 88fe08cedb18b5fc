"""The rules of `confirm_url`, and of changes to an order's terms."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from service.domain.confirm import NotPayable, Payable, reason_not_payable
from service.domain.order import Closed, Order, State
from service.domain.payment import Payment, Status, Store
from service.domain.terms import money_came

NOW = datetime(2026, 11, 1, tzinfo=UTC)
STORE = Store("default")
ORDER = Order("order-1", 64900, "KRW", STORE)
OPEN = Payable(ORDER, State.PENDING, None, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.PENDING, None),
        (State.AWAITING_DEPOSIT, None),
        (State.FAILED, None),
        (State.CANCELLED, None),
        (State.PAID, NotPayable.MONEY_HELD),
        (State.PARTIALLY_CANCELLED, NotPayable.MONEY_HELD),
        (State.MISMATCHED, NotPayable.MONEY_HELD),
    ],
)
def test_an_order_is_payable_while_no_money_is_held_for_it(state: State, expected: NotPayable | None) -> None:
    """An order is payable in exactly the states without held money."""
    assert reason_not_payable(replace(OPEN, state=state), Decimal(64900), NOW) is expected


def test_an_order_with_an_unreadable_payment_is_not_payable() -> None:
    """Money may be there already, so the buyer is not let pay a second time."""
    assert reason_not_payable(replace(OPEN, unreadable=True), Decimal(64900), NOW) is NotPayable.UNREADABLE_PAYMENT


def test_what_is_closed_or_unknown_is_not_payable() -> None:
    """A withdrawn, expired, overdue or unregistered order is not payable."""
    amount = Decimal(64900)
    assert reason_not_payable(None, amount, NOW) is NotPayable.NOT_REGISTERED
    assert reason_not_payable(replace(OPEN, closed=Closed.WITHDRAWN), amount, NOW) is NotPayable.WITHDRAWN
    assert reason_not_payable(replace(OPEN, closed=Closed.EXPIRED), amount, NOW) is NotPayable.EXPIRED
    assert reason_not_payable(OPEN, amount, OPEN.expires_at) is NotPayable.EXPIRED


@pytest.mark.parametrize(
    ("currency", "minor", "amount", "agrees"),
    [
        ("KRW", 64900, "64900", True),
        ("KRW", 64900, "64900.0", True),
        ("KRW", 64900, "64900.5", False),
        ("KRW", 64900, "649.00", False),
        ("USD", 600, "6", True),
        ("USD", 600, "6.00", True),
        ("USD", 600, "600", False),
        ("USD", 605, "6.05", True),
        ("USD", 605, "6.0500001", False),
        ("USD", 600, "-6", False),
        ("USD", 600, "NaN", False),
        ("USD", 600, "Infinity", False),
        ("USD", 600, "1E+999", False),
    ],
)
def test_the_amount_is_compared_exactly_in_the_orders_currency(
    currency: str, minor: int, amount: str, agrees: bool
) -> None:
    """V1's decimal amount is compared exactly with the order's, and an impossible amount never agrees."""
    order = replace(OPEN, terms=replace(ORDER, amount=minor, currency=currency))
    assert reason_not_payable(order, Decimal(amount), NOW) is (None if agrees else NotPayable.WRONG_AMOUNT)


def test_without_an_amount_the_rest_is_judged() -> None:
    """Galaxia's variant of the question names none."""
    assert reason_not_payable(OPEN, None, NOW) is None
    assert reason_not_payable(None, None, NOW) is NotPayable.NOT_REGISTERED
    assert reason_not_payable(replace(OPEN, state=State.PAID), None, NOW) is NotPayable.MONEY_HELD
    assert reason_not_payable(replace(OPEN, closed=Closed.WITHDRAWN), None, NOW) is NotPayable.WITHDRAWN


PAID = Payment("imp_1", "order-1", STORE, Status.PAID, 64900, "KRW", paid_at=NOW)


@pytest.mark.parametrize(
    ("payment", "came"),
    [
        (PAID, True),
        (replace(PAID, amount=1), True),
        (replace(PAID, status=Status.CANCELLED, cancelled_amount=64900), True),
        (replace(PAID, status=Status.CANCELLED, amount=1, cancelled_amount=1), False),
        (replace(PAID, live=False), False),
        (replace(PAID, status=Status.ISSUED, paid_at=None), False),
        (replace(PAID, status=Status.CANCELLED, paid_at=None), False),
        (replace(PAID, status=Status.FAILED), False),
    ],
)
def test_terms_change_until_money_came(payment: Payment, came: bool) -> None:
    """Held money fixes the terms, as does the order's price even if refunded, but a test payment does not."""
    ready = replace(PAID, imp_uid="imp_2", status=Status.READY)
    assert money_came(ORDER, [ready, payment]) is came
