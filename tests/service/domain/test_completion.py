"""What a browser is told, from what is stored and from what its look came to."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.domain.completion import CompletionRefusal, Reply, Unsettled, Verified, reply
from service.domain.notice import Outcome
from service.domain.order import Order, State
from service.domain.payment import Payment, Status, Store

STORE = Store("default")
ORDER = Order("order-1", 64900, "KRW", STORE)
PAID = Payment("imp_1", "order-1", STORE, Status.PAID, 64900, "KRW", paid_at=datetime(2026, 11, 1, tzinfo=UTC))
READY = replace(PAID, status=Status.READY, paid_at=None)
HALF_BACK = replace(PAID, status=Status.CANCELLED, cancelled_amount=100, cancellations=1)
ALL_BACK = replace(PAID, status=Status.CANCELLED, cancelled_amount=64900, cancellations=1)


@pytest.mark.parametrize(
    ("payment", "answer", "final"),
    [
        (PAID, Verified(State.PAID), True),
        (HALF_BACK, Verified(State.PARTIALLY_CANCELLED), True),
        (ALL_BACK, Verified(State.CANCELLED), True),
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
def test_after_a_look(payment: Payment, answer: object, final: bool) -> None:
    """Each payment has its answer; what may still become better is worth waiting for."""
    assert reply("order-1", payment, ORDER, Outcome.LOOKED) == Reply(answer, final)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_money_that_arrived_needs_no_look(outcome: Outcome | None) -> None:
    """The webhook came first: whatever this call's own look came to, the answer is `paid`."""
    assert reply("order-1", PAID, ORDER, outcome) == Reply(Verified(State.PAID), final=True)


@pytest.mark.parametrize("payment", [None, READY, replace(PAID, amount=1), replace(READY, status=Status.FAILED)])
def test_nothing_stored_refuses_before_a_look(payment: Payment | None) -> None:
    """PortOne was not asked on its behalf yet: what is stored may be old, so nobody is refused by it."""
    assert reply("order-1", payment, ORDER, None) == Reply(Unsettled.NOT_LOOKED_YET, final=False)


@pytest.mark.parametrize("outcome", [Outcome.PORTONE_UNAVAILABLE, Outcome.PORTONE_REFUSED, Outcome.ANSWER_UNREADABLE])
@pytest.mark.parametrize("payment", [None, READY, replace(PAID, amount=1)])
def test_a_failure_to_ask_refuses_nobody(payment: Payment | None, outcome: Outcome) -> None:
    """PortOne did not answer: 202, never 400."""
    assert reply("order-1", payment, ORDER, outcome) == Reply(Unsettled.PORTONE_NOT_ANSWERING, final=False)


def test_a_payment_that_portone_does_not_know() -> None:
    """It is refused in the end, but worth waiting for: PortOne's own copies lag."""
    assert reply("order-1", None, None, Outcome.PAYMENT_UNKNOWN) == Reply(
        CompletionRefusal.PAYMENT_UNKNOWN, final=False
    )


def test_an_order_that_is_not_registered() -> None:
    """202: the shop may be about to register it."""
    expected = Reply(Unsettled.ORDER_NOT_REGISTERED, final=False)
    assert reply("order-1", PAID, None, Outcome.ORDER_NOT_REGISTERED) == expected


def test_who_names_no_order_is_told_of_the_payments_own() -> None:
    """Without a claimed number there is nothing to compare it with."""
    assert reply(None, PAID, ORDER, Outcome.LOOKED) == Reply(Verified(State.PAID), final=True)


def test_a_claim_beyond_the_answer_is_worth_waiting_for() -> None:
    """The browser says paid, PortOne says failed: the last word may come within the wait."""
    failed = replace(READY, status=Status.FAILED)
    assert reply("order-1", failed, ORDER, Outcome.CLAIMS_MORE) == Reply(CompletionRefusal.PAYMENT_FAILED, final=False)
