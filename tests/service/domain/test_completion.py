"""The answer to a completion call follows from the stored payment and the result of its look."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.domain.completion import (
    CompletionAnswer,
    CompletionRefusal,
    Reply,
    Searched,
    Unsettled,
    Verified,
    order_reply,
    reply,
)
from service.domain.notice import Outcome
from service.domain.order import Order, State, VersionedOrder
from service.domain.payment import Payment, Status, Store
from service.domain.settle import settle

STORE = Store("default")
ORDER = Order("order-1", 64900, "KRW", STORE)
PAID = Payment("imp_1", "order-1", STORE, Status.PAID, 64900, "KRW", paid_at=datetime(2026, 11, 1, tzinfo=UTC))
READY = replace(PAID, status=Status.READY, paid_at=None)
PARTLY_REFUNDED = replace(PAID, status=Status.CANCELLED, cancelled_amount=100, cancellations=1)
FULLY_REFUNDED = replace(PAID, status=Status.CANCELLED, cancelled_amount=64900, cancellations=1)


@pytest.mark.parametrize(
    ("payment", "answer", "final"),
    [
        (PAID, Verified(State.PAID), True),
        (PARTLY_REFUNDED, Verified(State.PARTIALLY_CANCELLED), True),
        (FULLY_REFUNDED, Verified(State.CANCELLED), True),
        (replace(READY, status=Status.ISSUED), Verified(State.AWAITING_DEPOSIT), True),
        (READY, Unsettled.WINDOW_OPEN, False),
        (replace(READY, status=Status.FAILED), CompletionRefusal.PAYMENT_FAILED, True),
        (replace(PAID, amount=100), CompletionRefusal.WRONG_AMOUNT, True),
        (replace(PAID, currency="USD"), CompletionRefusal.WRONG_CURRENCY, True),
        (replace(PAID, live=False), CompletionRefusal.TEST_CHANNEL, True),
        (replace(PAID, store=Store("default", "abc")), CompletionRefusal.WRONG_STORE, True),
        (replace(PAID, merchant_uid="order-2"), CompletionRefusal.OTHER_ORDER, True),
    ],
)
def test_after_a_look(payment: Payment, answer: CompletionAnswer, final: bool) -> None:
    """Each payment has its answer, which is final unless it may still improve."""
    assert reply("order-1", payment, ORDER, Outcome.LOOKED) == Reply(answer, final)


@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_money_that_arrived_needs_no_look(outcome: Outcome | None) -> None:
    """If the webhook came first the answer is `paid`, whatever the result of this call's look."""
    assert reply("order-1", PAID, ORDER, outcome) == Reply(Verified(State.PAID), final=True)


@pytest.mark.parametrize("payment", [None, READY, replace(PAID, amount=1), replace(READY, status=Status.FAILED)])
def test_nothing_stored_refuses_before_a_look(payment: Payment | None) -> None:
    """Before its look a call is never refused, because the stored payment may be old."""
    assert reply("order-1", payment, ORDER, None) == Reply(Unsettled.NOT_LOOKED_YET, final=False)


def test_an_answer_that_cannot_be_read_is_no_refusal_and_no_outage() -> None:
    """The caller is told that PortOne answered unreadably, whatever is stored without money."""
    for payment in (None, READY, replace(PAID, amount=1)):
        answer = reply("order-1", payment, ORDER, Outcome.ANSWER_UNREADABLE)
        assert answer == Reply(Unsettled.ANSWER_UNREADABLE, final=False)
    failed_and_odd = [FAILED, replace(READY, imp_uid="imp_9", unreadable=True)]
    order = VersionedOrder(ORDER, settle(ORDER, failed_and_odd), 1)
    assert order_reply(order, Searched(Outcome.LOOKED)) == Reply(Unsettled.ANSWER_UNREADABLE, final=False)


@pytest.mark.parametrize("outcome", [Outcome.PORTONE_UNAVAILABLE, Outcome.PORTONE_REFUSED])
@pytest.mark.parametrize("payment", [None, READY, replace(PAID, amount=1)])
def test_a_failure_to_ask_refuses_nobody(payment: Payment | None, outcome: Outcome) -> None:
    """If PortOne did not answer, the answer is 202 and never 400."""
    assert reply("order-1", payment, ORDER, outcome) == Reply(Unsettled.PORTONE_NOT_ANSWERING, final=False)


def test_a_payment_that_portone_does_not_know() -> None:
    """An unknown payment is refused only after the wait, because PortOne's replicas lag."""
    assert reply("order-1", None, None, Outcome.PAYMENT_UNKNOWN) == Reply(
        CompletionRefusal.PAYMENT_UNKNOWN, final=False
    )


def test_an_order_that_is_not_registered() -> None:
    """An unregistered order is answered 202, because the shop may register it soon."""
    expected = Reply(Unsettled.ORDER_NOT_REGISTERED, final=False)
    assert reply("order-1", PAID, None, Outcome.ORDER_NOT_REGISTERED) == expected


def test_who_names_no_order_is_told_of_the_payments_own() -> None:
    """A call without an order number gets the state of the payment's order."""
    assert reply(None, PAID, ORDER, Outcome.LOOKED) == Reply(Verified(State.PAID), final=True)


def test_a_claim_beyond_the_answer_is_worth_waiting_for() -> None:
    """If the browser claims more than PortOne answers, the call waits, because PortOne may still change."""
    failed = replace(READY, status=Status.FAILED)
    assert reply("order-1", failed, ORDER, Outcome.CLAIMS_MORE) == Reply(CompletionRefusal.PAYMENT_FAILED, final=False)


FAILED = replace(READY, status=Status.FAILED)


@pytest.mark.parametrize(
    ("payments", "window_open", "answer", "final"),
    [
        ([PAID], False, Verified(State.PAID), True),
        ([FAILED, replace(PAID, imp_uid="imp_2")], True, Verified(State.PAID), True),
        ([PARTLY_REFUNDED], False, Verified(State.PARTIALLY_CANCELLED), True),
        ([FULLY_REFUNDED], False, Verified(State.CANCELLED), True),
        ([replace(READY, status=Status.ISSUED)], False, Verified(State.AWAITING_DEPOSIT), True),
        ([FAILED], False, CompletionRefusal.PAYMENT_FAILED, True),
        ([FAILED, replace(READY, imp_uid="imp_2")], True, Unsettled.WINDOW_OPEN, False),
        ([READY], True, Unsettled.WINDOW_OPEN, False),
        ([replace(PAID, amount=100)], False, CompletionRefusal.WRONG_AMOUNT, True),
        ([replace(PAID, currency="USD")], False, CompletionRefusal.WRONG_CURRENCY, True),
        ([replace(PAID, live=False)], False, CompletionRefusal.TEST_CHANNEL, True),
        ([replace(PAID, store=Store("default", "abc"))], False, CompletionRefusal.WRONG_STORE, True),
        ([], False, CompletionRefusal.PAYMENT_UNKNOWN, False),
    ],
)
def test_a_caller_that_names_an_order_is_told_of_all_its_payments(
    payments: list[Payment], window_open: bool, answer: CompletionAnswer, final: bool
) -> None:
    """The order's rule decides, once PortOne was asked for all of them."""
    order = VersionedOrder(ORDER, settle(ORDER, payments), 1)
    assert order_reply(order, Searched(Outcome.LOOKED, window_open)) == Reply(answer, final)


@pytest.mark.parametrize(
    ("searched", "answer"),
    [
        (None, Unsettled.NOT_LOOKED_YET),
        (Searched(Outcome.PORTONE_UNAVAILABLE), Unsettled.PORTONE_NOT_ANSWERING),
        (Searched(Outcome.ANSWER_UNREADABLE, window_open=True), Unsettled.ANSWER_UNREADABLE),
    ],
)
def test_nobody_is_refused_before_portone_was_asked_for_the_orders_payments(
    searched: Searched | None, answer: Unsettled
) -> None:
    """Neither stored payments nor a failure to ask refuses a caller; stored money needs no question."""
    for payments in ([], [READY], [FAILED], [replace(PAID, amount=1)]):
        assert order_reply(VersionedOrder(ORDER, settle(ORDER, payments), 1), searched) == Reply(answer, final=False)
    paid = VersionedOrder(ORDER, settle(ORDER, [PAID]), 2)
    assert order_reply(paid, searched) == Reply(Verified(State.PAID), final=True)


def test_an_order_that_nobody_registered_is_not_waited_for() -> None:
    """The answer is final, because PortOne is not asked about invented numbers."""
    assert order_reply(None, None) == Reply(Unsettled.ORDER_NOT_REGISTERED, final=True)
