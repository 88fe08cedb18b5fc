"""An order's summary names money that does not count, why a payment failed, and who closed the order."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from service.db.order_events import Event
from service.db.order_story import StoredPayment
from service.db.order_views import OrderView
from service.db.orders import StoredOrder
from service.domain.evidence import Cause, Evidence
from service.domain.order import Closed, Order, Problem, ProblemKind, Settlement, State
from service.usecases.order_summaries import OrderSummary, summarize
from tests.service.stored import DEFAULT

NOW = datetime(2026, 11, 27, 2, tzinfo=UTC)


def _payment(imp_uid: str, status: str = "paid", **changed: Any) -> StoredPayment:
    payment = StoredPayment(imp_uid, status, 100, "KRW", 0, "default", "", True, NOW, NOW, {})
    return replace(payment, **changed)


def _event(cause: Cause, who: str | None = None) -> Event:
    evidence = Evidence(cause, who=who, why="a test" if who else None)
    return Event(2, NOW, "pending", 100, "KRW", 0, 0, None, None, (), False, evidence)


def _summarize(
    settlement: Settlement, *payments: StoredPayment, closed: Closed | None = None, events: tuple[Event, ...] = ()
) -> OrderSummary:
    terms = Order("order-1", 100, "KRW", DEFAULT, closed=closed)
    order = StoredOrder(terms, settlement, 2, None, None, NOW, NOW, NOW)
    return summarize(OrderView(order, None, None), payments, events, None)


def test_money_beside_what_counts_is_named_with_its_reason() -> None:
    """A second payment, and money that disagrees, are told apart; what counts and what was given back are not named."""
    problems = (Problem(ProblemKind.DUPLICATE_PAYMENT, "imp_2"), Problem(ProblemKind.WRONG_AMOUNT, "imp_3"))
    summary = _summarize(
        Settlement(State.PAID, 100, 0, "imp_1", problems),
        _payment("imp_1"),
        _payment("imp_2", "cancelled", cancelled_amount=40),
        _payment("imp_3", amount=70),
        _payment("imp_4", "cancelled", cancelled_amount=100),
    )
    assert [(money.imp_uid, money.amount) for money in summary.second] == [("imp_2", 60)]
    assert [(money.imp_uid, money.amount, money.kinds) for money in summary.uncounted] == [
        ("imp_3", 70, ["wrong_amount"])
    ]


def test_a_mismatched_orders_money_does_not_count() -> None:
    """The payment that decides a mismatched order holds money that is not counted."""
    problems = (Problem(ProblemKind.WRONG_AMOUNT, "imp_1"),)
    summary = _summarize(Settlement(State.MISMATCHED, 0, 0, "imp_1", problems), _payment("imp_1", amount=70))
    assert [money.imp_uid for money in summary.uncounted] == ["imp_1"]


def test_only_a_test_payment_is_said_where_no_money_came() -> None:
    """A test payment is named if nothing else holds money."""
    test = _payment("imp_1", live=False)
    assert _summarize(Settlement(), test).tests == ["imp_1"]
    assert _summarize(Settlement(State.PAID, 100, 0, "imp_2"), test, _payment("imp_2")).tests == []


def test_the_last_failure_is_shown() -> None:
    """Of several attempts that failed the last is shown, and none once the order is not failed."""
    failures = [_payment(f"imp_{at}", "failed", details={"failed_at": at, "fail_reason": f"{at}"}) for at in (1, 3, 2)]
    failed = _summarize(Settlement(State.FAILED, 0, 0, "imp_3"), *failures).failed
    assert failed is not None
    assert failed.details["fail_reason"] == "3"
    assert _summarize(Settlement(), *failures).failed is None


def test_who_closed_the_order_is_shown_while_it_is_closed() -> None:
    """The version that closed the order last is shown with who and why."""
    events = (_event(Cause.EXPIRY), _event(Cause.WITHDRAWAL, "kim"), _event(Cause.LOOK))
    closing = _summarize(Settlement(), closed=Closed.WITHDRAWN, events=events).closed_by
    assert closing is not None
    assert closing.evidence.who == "kim"
    assert _summarize(Settlement(), events=events).closed_by is None
