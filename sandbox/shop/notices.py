"""Say which events show that the service recorded a notice. Pure; the service itself is not asked."""

from dataclasses import dataclass

from sandbox.journal import Event, Evidence

# What the service says of a payment once its notice is recorded, in a 400's type or a redirect's reason. Whatever else
# it says there comes before the recording.
VERDICTS = frozenset(
    {
        "wrong-amount", "wrong-currency", "wrong-store", "test-channel", "other-order", "payment-failed",
        "payment-unknown",
    }
)  # fmt: skip
UNSETTLED = frozenset({"window-open", "portone-not-answering", "order-not-registered", "not-looked-yet"})


@dataclass(frozen=True, slots=True)
class RecordedNotice:
    """A notice that the service has recorded, and what shows that it has."""

    source: str
    """webhook, completion or redirect"""
    shown_by: str
    within_seconds: float
    """How long after its call's beginning it was known to be recorded. The look may come before the call's answer."""


def recorded_notice(event: Event) -> RecordedNotice | None:
    """Return the notice that this event shows to be recorded, or None."""
    told, seconds = event.evidence, float(event.evidence.get("seconds", 0))
    match event.kind:
        case "webhook.sent" if _is_success(told.get("answer_status")):
            return RecordedNotice("webhook", "The webhook was answered 2xx, which comes after the commit.", seconds)
        case "page.completion" if _is_recorded_completion(told):
            shown_by = f"POST /payment/complete was answered {told['answer_status']}."
            return RecordedNotice("completion", shown_by, seconds)
        case "page.returned" if told.get("reason") in {None, *VERDICTS, *UNSETTLED}:
            return RecordedNotice("redirect", "GET /payment-redirect sent the browser on to the shop.", seconds)
        case _:
            return None


def _is_success(status: object) -> bool:
    return isinstance(status, int) and 200 <= status < 300


def _is_recorded_completion(told: Evidence) -> bool:
    status, body = told.get("answer_status"), told.get("answer")
    if _is_success(status):
        return True
    problem = str(body.get("type", "")).rpartition(":")[2] if isinstance(body, dict) else ""
    return status == 400 and problem in VERDICTS
