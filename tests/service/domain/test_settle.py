"""The rule that settles an order, as a table and as properties."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.order import Problem, ProblemKind, State
from service.domain.payment import Payment, Status, Store
from service.domain.settle import settle
from tests.service.domain.any_payment import ORDER, STORE, any_payments

PAID = Payment("imp_1", "order-1", STORE, Status.PAID, 64900, "KRW", paid_at=datetime(2026, 11, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("payment", "state"),
    [
        (replace(PAID, status=Status.READY), State.PENDING),
        (replace(PAID, status=Status.ISSUED), State.AWAITING_DEPOSIT),
        (replace(PAID, status=Status.FAILED), State.FAILED),
        (PAID, State.PAID),
        (replace(PAID, status=Status.CANCELLED, cancelled_amount=900), State.PARTIALLY_CANCELLED),
        (replace(PAID, status=Status.CANCELLED, cancelled_amount=64900), State.CANCELLED),
        (replace(PAID, amount=100), State.MISMATCHED),
        (replace(PAID, currency="USD"), State.MISMATCHED),
        (replace(PAID, store=Store("default", "abc")), State.MISMATCHED),
        (replace(PAID, live=False), State.PENDING),
        (replace(PAID, amount=100, status=Status.CANCELLED, cancelled_amount=100), State.PENDING),
    ],
)
def test_one_payment_makes_this_state(payment: Payment, state: State) -> None:
    """Each status of an agreeing or disagreeing payment leads to one state."""
    assert settle(ORDER, [payment]).state is state


def test_the_first_of_two_pays_and_the_second_is_a_problem() -> None:
    """If two payments hold money, the first pays the order and the second is a problem."""
    second = replace(PAID, imp_uid="imp_0", paid_at=datetime(2026, 11, 2, tzinfo=UTC))
    settlement = settle(ORDER, [second, PAID])
    assert (settlement.imp_uid, settlement.paid_amount) == ("imp_1", 64900)
    assert settlement.problems == (Problem(ProblemKind.DUPLICATE_PAYMENT, "imp_0"),)


def test_a_disagreeing_payment_never_hides_an_agreeing_one() -> None:
    """A forged amount beside the real payment is a problem, and the order is paid."""
    forged = replace(PAID, imp_uid="imp_0", amount=1, paid_at=datetime(2026, 10, 1, tzinfo=UTC))
    settlement = settle(ORDER, [forged, PAID])
    assert settlement.state is State.PAID
    assert settlement.problems == (Problem(ProblemKind.WRONG_AMOUNT, "imp_0"),)


@given(any_payments, st.randoms())
def test_the_order_of_payments_does_not_matter(payments: list[Payment], random: Random) -> None:
    """The settlement does not depend on the sequence of the payments."""
    shuffled = list(payments)
    random.shuffle(shuffled)
    assert settle(ORDER, shuffled) == settle(ORDER, payments)


@given(any_payments)
def test_paid_needs_money_held_that_agrees(payments: list[Payment]) -> None:
    """An order is `paid` only by a live payment of its store, amount and currency that holds money."""
    settlement = settle(ORDER, payments)
    if settlement.state is State.PAID:
        [deciding] = [payment for payment in payments if payment.imp_uid == settlement.imp_uid]
        assert deciding.status is Status.PAID or deciding.held == deciding.amount
        assert (deciding.live, deciding.store, deciding.amount, deciding.currency) == (
            True,
            STORE,
            64900,
            "KRW",
        )
        assert settlement.paid_amount - settlement.cancelled_amount == deciding.held
