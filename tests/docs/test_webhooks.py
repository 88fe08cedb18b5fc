"""The page for those who receive webhooks says what the code does."""

import re
from datetime import UTC, datetime
from pathlib import Path

import orjson

from service.db.feed import FeedEvent
from service.domain.delivery import DOWN_AFTER
from service.domain.timetable import Timetable
from service.usecases.endpoint_turn import event_message

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")


def test_the_message_is_ours() -> None:
    """The message on the page is, field by field, what is sent for this event."""
    at = datetime(2026, 11, 27, 2, tzinfo=UTC)
    event = FeedEvent(
        id=42, type="order.paid", merchant_uid="order-1", version=2, state="paid", closed=None, amount=64900,
        currency="KRW", paid_amount=64900, cancelled_amount=0, imp_uid="imp_1", problems=(), account="default", at=at,
    )  # fmt: skip
    [message] = re.findall(r"\n(\{\"type\".*?\}\})\n", PAGE, re.DOTALL)
    assert orjson.loads(message) == orjson.loads(event_message(event))


def test_the_waits_are_ours() -> None:
    """The waits between attempts, and the failures that make an endpoint down, are the code's."""
    seconds = [wait.total_seconds() for wait in Timetable().deliveries]
    hours = ", ".join(f"{wait / 3600:.0f}" for wait in seconds[5:-1])
    assert f"after 5 s, 30 s, 2, 10 and 30 min, {hours} and {seconds[-1] / 3600:.0f} h," in PAGE
    assert seconds[:5] == [5, 30, 120, 600, 1800]
    assert DOWN_AFTER == 10
    assert "fails ten times" in PAGE
