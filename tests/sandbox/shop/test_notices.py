"""The events that show that the service recorded a notice."""

from typing import Any

import pytest

from sandbox.journal import Event
from sandbox.shop.notices import recorded_notice, served_notices


def refusal(status: int, problem: str) -> dict[str, Any]:
    """Return the evidence of a completion call that was answered with a problem."""
    return {"answer_status": status, "answer": {"type": f"urn:portone-orders:problem:{problem}"}}


@pytest.mark.parametrize(
    ("kind", "evidence", "source"),
    [
        ("webhook.answered", {"answer_status": 200}, "webhook"),
        ("webhook.answered", {"answer_status": 503}, None),
        ("webhook.answered", {"answer_status": None}, None),
        ("page.completion_answered", {"answer_status": 200, "answer": {}}, "completion"),
        ("page.completion_answered", {"answer_status": 202}, "completion"),
        ("page.completion_answered", refusal(400, "wrong-amount"), "completion"),
        ("page.completion_answered", refusal(400, "unusable-notice"), None),
        ("page.completion_answered", refusal(429, "too-many-calls"), None),
        ("page.completion_answered", {"answer_status": 0, "answer": None}, None),
        ("page.returned", {"state": "paid"}, "redirect"),
        ("page.returned", {"state": "pending", "reason": "window-open"}, "redirect"),
        ("page.returned", {"state": "failed", "reason": "wrong-amount"}, "redirect"),
        ("page.returned", {"state": "pending", "reason": "too-many-calls"}, None),
        ("page.returned", {"state": "pending", "reason": "internal-error"}, None),
        ("page.callback", {"imp_uid": "imp_1"}, None),
        ("payment.changed", {"status": "paid"}, None),
    ],
)
def test_a_notice_is_recorded_when_the_service_has_said_so(
    kind: str, evidence: dict[str, Any], source: str | None
) -> None:
    """An answer that comes after the commit shows a notice; a refusal before it, or silence, shows none."""
    notice = recorded_notice(Event(1, 0.0, "order-1", kind, evidence))
    assert (notice.source if notice else None) == source


def _look(number: int, at: float, status: str = "paid") -> Event:
    return Event(number, at, "order-1", "portone.look", {"payments": [{"status": status}]})


def _notice(number: int, at: float, *, says_paid: bool = True) -> Event:
    return Event(number, at, "order-1", "notice.recorded", {"says_paid": says_paid})


def _told(number: int, notice: int) -> Event:
    return Event(number, 4.0, "order-1", "notice.served", {"notice": notice})


CHANGED = Event(9, 3.0, "order-1", "payment.changed", {})


@pytest.mark.parametrize(
    ("events", "served"),
    [
        ([_look(1, 1.0), _notice(2, 2.0)], [(2, 1)]),
        ([_look(1, 1.0), _look(2, 1.5), _notice(3, 2.0), _notice(4, 3.0)], [(3, 2), (4, 2)]),
        ([_notice(1, 1.0), _look(2, 1.5)], []),
        ([_notice(1, 1.0)], []),
        ([_look(1, 1.0, "ready"), _notice(2, 2.0)], []),
        ([_look(1, 1.0), _notice(2, 2.0, says_paid=False)], []),
        ([_look(1, 1.0), _notice(2, 2.0), CHANGED], []),
        ([_look(1, 1.0), _notice(2, 2.0), _told(3, 2)], []),
    ],
)
def test_a_notice_without_a_look_of_its_own_is_answered_by_the_look_before(
    events: list[Event], served: list[tuple[int, int]]
) -> None:
    """It is so once: if it says paid, as the last look had found, and the payment has not changed since."""
    assert [(notice.number, look.number) for notice, look in served_notices(events)] == served
