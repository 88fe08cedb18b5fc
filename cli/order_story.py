"""Write what led to an order's state: its other payments, what was found by reconciliation, and what still waits."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cli.order_page import line_of, money
from service.domain.notice import Source

if TYPE_CHECKING:
    from service.db.order_story import Attempt, WaitingNotice


def story_lines(
    deciding: object, attempts: "Sequence[Attempt]", waiting: "Sequence[WaitingNotice]", limit: int
) -> Iterator[str]:
    """Yield a line for each fact. `deciding` is the imp_uid of the payment that decides the state, or None."""
    for attempt in attempts:
        if attempt.imp_uid != deciding:
            yield line_of("other", _payment(attempt))
    for attempt in attempts:
        if attempt.first_source == Source.RECONCILE:
            yield line_of("found", f"{attempt.imp_uid} by reconciliation, {attempt.first_at:%Y-%m-%d %H:%M:%S %Z}")
    for notice in waiting:
        yield line_of("waiting", _notice(notice))
    if len(waiting) == limit:
        yield line_of("", f"and perhaps more: these are {limit}")


def _payment(attempt: "Attempt") -> str:
    parts = [attempt.imp_uid, attempt.status, money(attempt.amount, attempt.currency)]
    if attempt.cancelled_amount:
        parts.append(f"refunded {money(attempt.cancelled_amount, attempt.currency)}")
    if attempt.tier:
        parts.append(f"tier {attempt.tier}")
    if not attempt.live:
        parts.append("on a test channel")
    return ", ".join(parts)


def _notice(notice: "WaitingNotice") -> str:
    state = f"parked: {notice.outcome}" if notice.parked else f"due, {notice.outcome or 'not looked at yet'}"
    about = f" about {notice.imp_uid}" if notice.imp_uid else ""
    received = f"received {notice.received_at:%Y-%m-%d %H:%M:%S %Z}"
    return f"notice {notice.id}, {notice.source}{about}, {state}, {received}, tries: {notice.tries}"
