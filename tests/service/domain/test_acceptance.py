"""The rule for accepting a payment as it is, as a table."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.acceptance import Unacceptable, rule_on_acceptance
from service.domain.order import Closed, Order, State
from service.domain.payment import Payment, Status, Store
from service.domain.refund import RefundState
from service.domain.settle import settle
from tests.service.domain.any_payment import ORDER, STORE, any_payments

MORE = Payment("imp_1", "order-1", STORE, Status.PAID, 67900, "KRW", paid_at=datetime(2026, 11, 1, tzinfo=UTC))
PAYS = replace(MORE, imp_uid="imp_2", amount=64900)


@pytest.mark.parametrize("amount", [67900, 1, 64900])
def test_a_payment_of_another_amount_may_be_accepted(amount: int) -> None:
    """A payment of more, of less or of the order's own amount pays the order once it is accepted."""
    payment = replace(MORE, amount=amount)
    accepted = rule_on_acceptance(ORDER, [payment], "imp_1", None)
    assert accepted == replace(ORDER, amount=amount)
    assert isinstance(accepted, Order)
    assert (settle(accepted, [payment]).state, settle(accepted, [payment]).paid_amount) == (State.PAID, amount)


def test_a_payment_after_the_close_opens_the_order_again() -> None:
    """Accepting what came after the close ends that problem, because the order is open again."""
    closed = replace(ORDER, closed=Closed.EXPIRED)
    accepted = rule_on_acceptance(closed, [PAYS], "imp_2", None)
    assert isinstance(accepted, Order)
    assert (accepted.closed, settle(accepted, [PAYS]).problems) == (None, ())


def test_what_was_refunded_in_part_may_be_accepted() -> None:
    """A payment of which the surplus was given back is accepted with what was given back."""
    payment = replace(MORE, status=Status.CANCELLED, cancelled_amount=3000)
    accepted = rule_on_acceptance(ORDER, [payment], "imp_1", None)
    assert isinstance(accepted, Order)
    settled = settle(accepted, [payment])
    assert (settled.state, settled.paid_amount, settled.cancelled_amount) == (State.PARTIALLY_CANCELLED, 67900, 3000)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"imp_uid": "imp_9"}, Unacceptable.UNKNOWN),
        ({"status": Status.READY}, Unacceptable.NO_MONEY),
        ({"status": Status.ISSUED}, Unacceptable.NO_MONEY),
        ({"status": Status.CANCELLED, "cancelled_amount": 67900}, Unacceptable.NO_MONEY),
        ({"currency": "USD"}, Unacceptable.OTHER_KIND),
        ({"store": Store("default", "abc")}, Unacceptable.OTHER_KIND),
        ({"live": False}, Unacceptable.OTHER_KIND),
        ({"regressed": True}, Unacceptable.REGRESSED),
        ({"unreadable": True}, Unacceptable.UNREADABLE),
        ({"refund_unknown": True}, Unacceptable.REFUND_SENT),
    ],
)
def test_what_may_not_be_accepted(change: dict[str, Any], why: Unacceptable) -> None:
    """A payment that holds no money, or that disagrees in more than its amount, is refused with the reason."""
    assert rule_on_acceptance(ORDER, [replace(MORE, **change)], "imp_1", None) is why


@pytest.mark.parametrize("refund", RefundState)
def test_a_refund_that_was_sent_keeps_it_from_being_accepted(refund: RefundState) -> None:
    """Only a refund that was never sent, or was refused, leaves the money to be accepted."""
    accepted = rule_on_acceptance(ORDER, [MORE], "imp_1", refund)
    never_sent = {RefundState.INTENDED, RefundState.WITHDRAWN, RefundState.REFUSED}
    assert (accepted is Unacceptable.REFUND_SENT) == (refund not in never_sent)


def test_an_order_that_is_paid_takes_no_other_amount() -> None:
    """While one payment pays the order, another is not accepted, nor a duplicate."""
    assert rule_on_acceptance(ORDER, [PAYS, MORE], "imp_1", None) is Unacceptable.OTHER_PAYS
    duplicate = replace(PAYS, imp_uid="imp_3", paid_at=datetime(2026, 11, 2, tzinfo=UTC))
    assert rule_on_acceptance(ORDER, [PAYS, duplicate], "imp_3", None) is Unacceptable.OTHER_PAYS
    second = replace(MORE, imp_uid="imp_3", paid_at=datetime(2026, 11, 2, tzinfo=UTC))
    assert rule_on_acceptance(ORDER, [MORE, second], "imp_3", None) is Unacceptable.OTHER_PAYS


@given(any_payments, st.sampled_from(["imp_1", "imp_2", "imp_3"]))
def test_what_is_accepted_pays_the_order_and_is_accepted_again(payments: list[Payment], imp_uid: str) -> None:
    """An accepted payment decides the order, and accepting it again changes nothing."""
    accepted = rule_on_acceptance(ORDER, payments, imp_uid, None)
    if isinstance(accepted, Order):
        settled = settle(accepted, payments)
        assert settled.state in (State.PAID, State.PARTIALLY_CANCELLED)
        assert settled.imp_uid == imp_uid
        assert rule_on_acceptance(accepted, payments, imp_uid, None) == accepted
