"""The journal's entries for a payment's changes, its window and its webhooks."""

from collections.abc import Callable
from dataclasses import asdict

from sandbox.browser.windows import Window
from sandbox.journal import Evidence, Journal
from sandbox.payment import Change, Fields, Payment
from sandbox.webhooks import Delivery


def record_last_change(journal: Journal, payment: Payment) -> None:
    """Record the payment's latest change."""
    if journal.watches(payment.merchant_uid):
        record_change(journal, payment.merchant_uid, payment.fields, payment.changes[-1])


def record_change(journal: Journal, merchant_uid: str, fields: Fields, change: Change) -> None:
    """Record the fields that a change has set, without those that are empty."""
    always = {name: fields[name] for name in ("imp_uid", "status", "amount", "currency")}
    changed = {name: value for name, value in change.fields.items() if value not in (None, 0, False, [], "")}
    journal.record(merchant_uid, "payment.changed", always | changed, at=change.at)


def record_delivery(journal: Journal, clock: Callable[[], float], delivery: Delivery) -> None:
    """Record a webhook at the time when it was sent, and its answer, or that none came, when it was over."""
    merchant_uid, now = delivery.body.get("merchant_uid"), clock()
    if not journal.watches(merchant_uid):
        return
    told = asdict(delivery)
    sent = {name: told[name] for name in ("url", "body", "format", "outcome")}
    journal.record(merchant_uid, "webhook.sent", sent, at=now - delivery.seconds)
    if delivery.outcome in ("delivered", "failed"):
        answered = {name: told[name] for name in ("body", "answer_status", "error", "seconds")}
        journal.record(merchant_uid, "webhook.answered", answered, at=now)


def record_window(journal: Journal, window: Window, what: str, evidence: Evidence) -> None:
    """Record what happened to a window; when it opens, with all that its page has asked for."""
    asked = {"params": window.opening.params} if what == "opened" else {}
    journal.record(window.merchant_uid, f"window.{what}", evidence | asked)
