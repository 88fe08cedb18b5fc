"""Say which events show that the service recorded a notice. Pure; the service itself is not asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.journal import Event, Evidence

# What the service says of a payment once its notice is recorded, in a 400's type or a redirect's reason. Whatever else
# it says there comes before the recording.
VERDICTS = frozenset(
    {
        "wrong-amount", "wrong-currency", "wrong-store", "test-channel", "billing-key-issue", "other-order",
        "payment-failed", "payment-unknown",
    }
)  # fmt: skip
UNSETTLED = frozenset(
    {"window-open", "portone-not-answering", "answer-unreadable", "order-not-registered", "not-looked-yet"}
)


@dataclass(frozen=True, slots=True)
class RecordedNotice:
    """A notice that the service has recorded, and what shows that it has."""

    source: str
    """webhook, completion or redirect"""
    shown_by: str
    within_seconds: float
    """How long after its call's beginning it was known to be recorded. The look may come before the call's answer."""
    says_paid: bool
    """Whether it says that the payment is paid, so that an earlier look which found that answers it."""


def recorded_notice(event: Event) -> RecordedNotice | None:
    """Return the notice that this event shows to be recorded, or None."""
    told, seconds = event.evidence, float(event.evidence.get("seconds", 0))
    match event.kind:
        case "webhook.answered" if _is_success(told.get("answer_status")):
            shown_by = "The webhook was answered 2xx, which comes after the commit."
            return RecordedNotice("webhook", shown_by, seconds, _status_in(told) == "paid")
        case "page.completion_answered" if _is_recorded_completion(told):
            shown_by = f"POST /payment/complete was answered {told['answer_status']}."
            return RecordedNotice("completion", shown_by, seconds, says_paid=True)
        case "page.returned" if told.get("reason") in {None, *VERDICTS, *UNSETTLED}:
            shown_by = "GET /payment-redirect sent the browser on to the shop."
            return RecordedNotice("redirect", shown_by, seconds, told.get("state") == "paid")
        case _:
            return None


def served_notices(events: Sequence[Event]) -> list[tuple[Event, Event]]:
    """Return each notice that needed no look of its own, with the earlier look that had said the same already.

    So it is with a notice that says "paid" when the last look has found the payment paid and nothing has changed since.
    Nothing is said of the others: their look may still come.
    """
    told = {event.evidence["notice"] for event in events if event.kind == "notice.served"}
    looks = [event for event in events if event.kind == "portone.look"]
    last = max(looks, key=lambda look: look.at, default=None)
    if last is None or not _found_paid(last) or _has_changed_since(events, last.at):
        return []
    notices = [event for event in events if event.kind == "notice.recorded" and event.evidence["says_paid"]]
    return [(notice, last) for notice in notices if notice.at > last.at and notice.number not in told]


def _found_paid(look: Event) -> bool:
    return any(payment.get("status") == "paid" for payment in look.evidence["payments"])


def _has_changed_since(events: Sequence[Event], moment: float) -> bool:
    return any(event.kind == "payment.changed" and event.at > moment for event in events)


def _status_in(told: Evidence) -> object:
    body = told.get("body")
    return body.get("status") if isinstance(body, dict) else None


def _is_success(status: object) -> bool:
    return isinstance(status, int) and 200 <= status < 300


def _is_recorded_completion(told: Evidence) -> bool:
    status, body = told.get("answer_status"), told.get("answer")
    if _is_success(status):
        return True
    problem = str(body.get("type", "")).rpartition(":")[2] if isinstance(body, dict) else ""
    return status == 400 and problem in VERDICTS
