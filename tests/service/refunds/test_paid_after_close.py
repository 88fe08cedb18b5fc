"""Money of an order that was closed before is a problem until it is given back (docs/portone.md §4.22)."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from service.domain.order import Closed, Problem, ProblemKind, State
from service.domain.payment import Payment, Status
from service.domain.refund import Action, Hold, Policy, Refundable, rule_on_refund
from service.domain.settle import settle
from service.portone.client import PortOne
from tests.service.domain.any_payment import ORDER, STORE
from tests.service.refunding import Shop, make_refunder, refund_counts

CLOSED = replace(ORDER, closed=Closed.WITHDRAWN)
PAID = Payment(
    "imp_1", "order-1", STORE, Status.PAID, 64900, "KRW", paid_at=datetime(2026, 11, 1, tzinfo=UTC),
    details=(("pay_method", "card"),),
)  # fmt: skip
LATE = Problem(ProblemKind.PAID_AFTER_CLOSE, "imp_1")
REFUND_LATE = Policy(on_paid_after_close=Action.REFUND)


@pytest.mark.parametrize("closed", list(Closed))
def test_money_after_the_order_was_closed_is_a_problem(closed: Closed) -> None:
    """A closed order that holds money is paid, as PortOne says, and has the problem."""
    settled = settle(replace(ORDER, closed=closed), [PAID])
    assert (settled.state, settled.problems) == (State.PAID, (LATE,))


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"status": Status.CANCELLED, "cancelled_amount": 900}, (LATE,)),
        ({"status": Status.CANCELLED, "cancelled_amount": 64900}, ()),
        ({"status": Status.ISSUED}, ()),
        ({"status": Status.FAILED}, ()),
        ({"amount": 100}, (Problem(ProblemKind.WRONG_AMOUNT, "imp_1"),)),
    ],
)
def test_the_problem_lasts_as_long_as_money_of_the_order_is_held(
    change: dict[str, Any], problems: tuple[Problem, ...]
) -> None:
    """A partial refund leaves the problem, a full one ends it, and money that disagrees has a problem of its own."""
    assert settle(CLOSED, [replace(PAID, **change)]).problems == problems


def test_a_second_payment_of_a_closed_order_is_a_duplicate() -> None:
    """Of two payments the first came after the close and the second twice, so that each policy decides its own."""
    second = replace(PAID, imp_uid="imp_2", paid_at=datetime(2026, 11, 2, tzinfo=UTC))
    assert settle(CLOSED, [PAID, second]).problems == (Problem(ProblemKind.DUPLICATE_PAYMENT, "imp_2"), LATE)


@pytest.mark.parametrize("policy", [Policy(), Policy(Action.REFUND, Action.REFUND)])
def test_no_other_policy_gives_late_money_back(policy: Policy) -> None:
    """Money that came after the close is held unless ON_PAID_AFTER_CLOSE says refund."""
    assert rule_on_refund(CLOSED, [PAID], "imp_1", policy) is Hold.POLICY
    assert rule_on_refund(CLOSED, [PAID], "imp_1", REFUND_LATE) == Refundable((ProblemKind.PAID_AFTER_CLOSE,), PAID)


def test_the_policy_gives_no_money_of_an_open_order_back() -> None:
    """ON_PAID_AFTER_CLOSE touches no payment of an order that is open."""
    assert rule_on_refund(ORDER, [PAID], "imp_1", REFUND_LATE) is Hold.NO_FINDING


async def _withdrawn_and_paid(shop: Shop) -> str:
    await shop.order("order-1")
    await shop.pool.execute("UPDATE orders SET closed = 'withdrawn'")
    imp_uid: str = (await shop.sandbox.pay("order-1", 64900))["imp_uid"]
    await shop.announce("order-1", imp_uid)
    return imp_uid


async def test_money_after_the_close_is_told_and_goes_back_by_the_policy(shop: Shop, portone: PortOne) -> None:
    """A look at a withdrawn order's payment opens the problem, and with the policy the money goes back once."""
    imp_uid = await _withdrawn_and_paid(shop)
    assert await shop.problems("order-1") == [("paid_after_close", imp_uid)]
    refunder = make_refunder(shop.verifier, portone, policy=REFUND_LATE)
    assert await refunder.intents.intend_due() == 1
    await shop.let_the_finding_age()
    assert await refunder.refund_due() == 1
    assert await refund_counts(shop, [imp_uid]) == [1]
    assert await shop.problems("order-1") == []


async def test_money_after_the_close_is_held_by_default(shop: Shop, portone: PortOne) -> None:
    """Without the policy nothing of a closed order is refunded."""
    imp_uid = await _withdrawn_and_paid(shop)
    refunder = make_refunder(shop.verifier, portone, policy=Policy())
    assert await refunder.intents.intend_due() == 0
    assert await refund_counts(shop, [imp_uid]) == [0]
