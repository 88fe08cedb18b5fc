"""The events that show that the service recorded a notice."""

from typing import Any

import pytest

from sandbox.journal import Event
from sandbox.shop.notices import recorded_notice

PROBLEM = "urn:portone-orders:problem:"


@pytest.mark.parametrize(
    ("kind", "evidence", "source"),
    [
        ("webhook.sent", {"answer_status": 200}, "webhook"),
        ("webhook.sent", {"answer_status": 503}, None),
        ("webhook.sent", {"answer_status": None}, None),
        ("page.completion", {"answer_status": 200, "answer": {}}, "completion"),
        ("page.completion", {"answer_status": 202}, "completion"),
        ("page.completion", {"answer_status": 400, "answer": {"type": f"{PROBLEM}wrong-amount"}}, "completion"),
        ("page.completion", {"answer_status": 400, "answer": {"type": f"{PROBLEM}unusable-notice"}}, None),
        ("page.completion", {"answer_status": 429, "answer": {"type": f"{PROBLEM}too-many-calls"}}, None),
        ("page.completion", {"answer_status": 0, "answer": None}, None),
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
