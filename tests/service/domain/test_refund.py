"""The rules say which payments may be refunded, and how a refund that was sent ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.money import DECIMALS, MAX_AMOUNT, to_major, to_minor
from service.domain.order import ProblemKind
from service.domain.payment import Payment, Status, Store
from service.domain.refund import (
    BY_PERSON,
    Action,
    Asked,
    Hold,
    Policy,
    Refundable,
    RefundState,
    after_look,
    is_refunded,
    rule_on_refund,
)
from service.domain.settle import settle
from tests.service.domain.any_payment import ORDER, STORE, any_payments

PAID = Payment(
    "imp_1", "order-1", STORE, Status.PAID, 64900, "KRW",
    paid_at=datetime(2026, 11, 1, tzinfo=UTC), details=(("pay_method", "card"),),
)  # fmt: skip
SECOND = replace(PAID, imp_uid="imp_2", paid_at=datetime(2026, 11, 2, tzinfo=UTC))
ASKED = Asked("imp_2", 64900, 0, refused=False, age=timedelta(seconds=10))
GONE = replace(SECOND, status=Status.CANCELLED, cancelled_amount=64900, cancellations=1)
AN_HOUR = timedelta(hours=1)


def test_the_second_payment_may_go_back() -> None:
    """A duplicate may be refunded, and the payment that pays the order may not."""
    assert rule_on_refund(ORDER, [PAID, SECOND], "imp_2", BY_PERSON) == Refundable(
        (ProblemKind.DUPLICATE_PAYMENT,), SECOND
    )
    assert rule_on_refund(ORDER, [PAID, SECOND], "imp_1", BY_PERSON) is Hold.NO_FINDING
    assert rule_on_refund(ORDER, [PAID], "imp_2", BY_PERSON) is Hold.NO_FINDING


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"amount": 100}, ProblemKind.WRONG_AMOUNT),
        ({"currency": "USD"}, ProblemKind.WRONG_CURRENCY),
        ({"store": Store("default", "abc")}, ProblemKind.WRONG_STORE),
    ],
)
def test_each_mismatch_may_go_back(change: dict[str, Any], kind: ProblemKind) -> None:
    """A wrong amount, currency or store is refunded by ON_MISMATCH, whatever ON_DUPLICATE says."""
    payment = replace(PAID, **change)
    assert rule_on_refund(ORDER, [payment], "imp_1", Policy(on_mismatch=Action.REFUND)) == Refundable((kind,), payment)
    assert rule_on_refund(ORDER, [payment], "imp_1", Policy(on_duplicate=Action.REFUND)) is Hold.POLICY


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"live": False}, Hold.TEST_CHANNEL),
        ({"regressed": True}, Hold.REGRESSED),
        ({"details": (("pay_method", "vbank"),)}, Hold.REFUND_ACCOUNT),
        ({"details": (("pay_method", "card"), ("vbank_name", "KB"))}, Hold.REFUND_ACCOUNT),
        ({"details": ()}, Hold.REFUND_ACCOUNT),
        ({"currency": "XXX"}, Hold.CURRENCY),
        ({"status": Status.ISSUED}, Hold.NO_FINDING),
        ({"status": Status.CANCELLED, "cancelled_amount": 100}, Hold.NO_FINDING),
    ],
)
def test_what_nobody_gets_refunded_here(change: dict[str, Any], why: Hold) -> None:
    """Neither a policy nor a person can refund what the rules exclude."""
    payment = replace(PAID, **{"amount": 100} | change)
    assert rule_on_refund(ORDER, [payment], "imp_1", BY_PERSON) is why


def test_a_test_payment_that_is_let_in_is_not_refunded_either() -> None:
    """A test payment that is a duplicate under ALLOW_TEST_CHANNEL is still not refunded."""
    order = replace(ORDER, allow_test_channel=True)
    payments = [replace(PAID, live=False), replace(SECOND, live=False)]
    assert settle(order, payments).problems
    assert rule_on_refund(order, payments, "imp_2", BY_PERSON) is Hold.TEST_CHANNEL


@given(any_payments)
def test_the_payment_that_pays_an_order_never_goes_back(payments: list[Payment]) -> None:
    """A refundable payment holds live money, is a problem, and is not the one that pays the order."""
    settlement = settle(ORDER, payments)
    for payment in payments:
        ruling = rule_on_refund(ORDER, payments, payment.imp_uid, BY_PERSON)
        if isinstance(ruling, Refundable):
            assert ruling.payment == payment
            assert payment.live
            assert payment.held > 0
            assert settlement.paid_amount == 0 or settlement.imp_uid != payment.imp_uid
            after = replace(payment, status=Status.CANCELLED, cancelled_amount=payment.amount)
            others = [other for other in payments if other is not payment]
            assert settle(ORDER, [*others, after]).paid_amount >= settlement.paid_amount


def test_only_facts_make_a_refund() -> None:
    """A refund needs all of: status cancelled, no held money, and a new row of cancel_history."""
    assert is_refunded(ASKED, GONE)
    assert not is_refunded(ASKED, SECOND)
    assert not is_refunded(ASKED, replace(GONE, cancellations=0))
    assert not is_refunded(ASKED, replace(GONE, cancelled_amount=100))
    assert not is_refunded(ASKED, replace(GONE, status=Status.PAID))
    assert not is_refunded(ASKED, replace(GONE, imp_uid="imp_1"))
    assert not is_refunded(replace(ASKED, cancellations_before=1), GONE)


@pytest.mark.parametrize(("refused", "looked", "old", "gone"), list(product([False, True], repeat=4)))
def test_how_a_refund_ends(refused: bool, looked: bool, old: bool, gone: bool) -> None:
    """A refund ends by PortOne's facts, or by a refusal that a look confirms, or by time, or not yet."""
    refund = replace(ASKED, refused=refused, age=AN_HOUR if old else timedelta())
    state = after_look(refund, GONE if gone else SECOND, looked=looked, unknown_after=AN_HOUR)
    if gone:
        assert state is RefundState.REFUNDED
    elif refused and looked:
        assert state is RefundState.REFUSED
    else:
        assert state is (RefundState.REFUND_UNKNOWN if old else None)


def test_the_default_policy_refunds_nothing() -> None:
    """By default mismatches and duplicates are held."""
    assert Policy().kinds == frozenset()


def test_amounts_are_written_as_v1_does() -> None:
    """Amounts are written as V1 does: USD 600 as 6.00, KRW 64900 as 64900."""
    assert (str(to_major(600, "USD")), str(to_major(64900, "KRW"))) == ("6.00", "64900")


@given(st.integers(0, MAX_AMOUNT), st.sampled_from(sorted(DECIMALS)))
def test_an_amount_survives_the_way_there_and_back(minor: int, currency: str) -> None:
    """An amount converted to V1's decimals and back is unchanged."""
    assert to_minor(to_major(minor, currency), currency) == minor
