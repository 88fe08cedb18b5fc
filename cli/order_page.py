"""Write an order as text for a person."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from service.domain.evidence import Cause
from service.domain.money import to_major
from service.domain.payment import ACCOUNT

if TYPE_CHECKING:
    from service.db.order_events import Event
    from service.domain.evidence import Evidence


def page(order: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each fact of an order, as the service's HTTP API answers it."""
    closed = f", closed: {order['closed']}" if order["closed"] else ""
    yield f"{order['merchant_uid']}: {order['state']}{closed} (version {order['version']})"
    for label, text in _facts(order):
        yield line_of(label, text)


def history_lines(events: "Sequence[Event]") -> Iterator[str]:
    yield "  history"
    for event in events:
        amounts = [f"paid {money(event.paid_amount, event.currency)}"] if event.paid_amount else []
        if event.cancelled_amount:
            amounts.append(f"refunded {money(event.cancelled_amount, event.currency)}")
        parts = [event.state, event.closed or "", money(event.amount, event.currency), *amounts]
        parts += [event.imp_uid or "", ", ".join(problem.kind for problem in event.problems)]
        yield f"    {event.version:>3}  {event.at:%Y-%m-%d %H:%M:%S %Z}  " + "  ".join(text for text in parts if text)
        yield f"         {_evidence(event.evidence)}"


def _evidence(evidence: "Evidence") -> str:
    """Return what led to a version: of a look its notice and what PortOne said then, of a person who and why."""
    said = "; ".join(facts_text(facts) for facts in evidence.facts)
    if evidence.cause is Cause.LOOK:
        notice = f"{evidence.source or 'a notice'} {evidence.notice_id or ''}".rstrip()
        began = f" at {evidence.looked_at:%Y-%m-%d %H:%M:%S %Z}" if evidence.looked_at else ""
        ticket = f" (ticket {evidence.ticket})" if evidence.ticket else ""
        return f"by {notice}, looked{began}{ticket}: PortOne said {said or 'nothing of it'}"
    by = f" by {evidence.who}: {evidence.why}" if evidence.who else ""
    return f"by its {evidence.cause}{by}" + (f", when PortOne had said {said}" if said else "")


def facts_text(facts: "Mapping[str, Any]") -> str:
    """Return what PortOne said of a payment at some time."""
    if facts.get("unreadable"):
        return f"{facts['imp_uid']}, which could not be read"
    parts = [f"{facts['imp_uid']} {facts['status']} {money(facts['amount'], facts['currency'])}"]
    if facts["cancelled_amount"]:
        parts.append(f"refunded {money(facts['cancelled_amount'], facts['currency'])}")
    if (facts["account"], facts["tier"]) != (ACCOUNT, ""):
        parts.append("in " + "/".join(filter(None, (facts["account"], facts["tier"]))))
    if not facts["live"]:
        parts.append("on a test channel")
    return ", ".join(parts)


def line_of(label: str, text: str) -> str:
    """Return one fact as a line."""
    return f"  {label:<12}{text}"


def money(amount: int, currency: str) -> str:
    """Return an amount in the currency's own unit: 64900 KRW, 6.00 USD."""
    return f"{to_major(amount, currency)} {currency}"


def _facts(order: dict[str, Any]) -> Iterator[tuple[str, str]]:
    currency = order["currency"]
    yield "amount", money(order["amount"], currency)
    if order["registered_amount"]:
        yield "accepted", f"instead of the {money(order['registered_amount'], currency)} that were registered"
    yield "paid", money(order["paid_amount"], currency)
    yield "refunded", money(order["cancelled_amount"], currency)
    yield "payment", _payment(order)
    problems = ", ".join(f"{problem['kind']} ({problem['imp_uid']})" for problem in order["problems"])
    yield "problems", problems or "none"
    for label in ("name", "account", "tier", "prepared"):
        if order[label] and (label, order[label]) != ("account", ACCOUNT):
            yield label, order[label]
    if order["allow_billing_key_issue"]:
        yield "allows", "a payment that issues a billing key"
    yield "registered", _time(order["created_at"])
    yield "changed", _time(order["updated_at"])
    yield "expires", _time(order["expires_at"])


def _payment(order: dict[str, Any]) -> str:
    """Return the deciding payment as text. The answer to a registration has only its imp_uid."""
    payment = order.get("payment")
    if not payment:
        return order["imp_uid"] or "none decides yet"
    parts = [payment["imp_uid"], payment["status"], money(payment["amount"], payment["currency"])]
    if payment["details"].get("pay_method"):
        parts.append(payment["details"]["pay_method"])
    if payment["paid_at"]:
        parts.append(f"paid at {_time(payment['paid_at'])}")
    if order["test_channel"]:
        parts.append("on a test channel")
    return ", ".join(parts)


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S %Z}"
