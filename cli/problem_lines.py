"""Write a problem as one line for a person: what it is, the money, its refund, and who has resolved it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.order_page import money
from service.domain.order import ProblemKind
from service.domain.payment import Status

if TYPE_CHECKING:
    from service.db.problems import OpenProblem


def problem_line(problem: "OpenProblem") -> str:
    """Return the problem's line. Its parts are separated by two spaces, and the first three are always there."""
    parts = [problem.kind, problem.merchant_uid or "-", problem.imp_uid, *_money(problem)]
    if problem.odd:
        parts.append("unreadable: " + ", ".join(f"{name} {value}" for name, value in sorted(problem.odd.items())))
    if problem.refund_state is not None:
        parts.append(_refund(problem))
    if problem.resolved_at is not None:
        known = "resolved" if problem.resolved else "found again, was resolved"
        parts.append(f"{known} {problem.resolved_at:%Y-%m-%d %H:%M} by {problem.resolved_who}: {problem.resolved_why}")
    return "  ".join(parts)


def _money(problem: "OpenProblem") -> Iterator[str]:
    """Yield what is known of the money. A test payment moved none, whatever its amount."""
    if problem.amount is None or problem.currency is None:
        return
    whole = money(problem.amount, problem.currency)
    if problem.live is False:
        yield f"test payment of {whole}: no money moved"
    elif problem.held is None:
        yield f"PortOne says {whole}"
    elif problem.kind == ProblemKind.BILLING_KEY_ISSUE:
        yield f"PortOne says {whole}, but the window issued a billing key: perhaps no money moved"
    elif problem.status == Status.ISSUED:
        yield f"waits for a deposit of {whole}"
    elif problem.held and problem.cancelled_amount:
        held, back = money(problem.held, problem.currency), money(problem.cancelled_amount, problem.currency)
        yield f"holds {held} of {whole}: {back} was given back"
    else:
        yield f"holds {money(problem.held, problem.currency)}"


def _refund(problem: "OpenProblem") -> str:
    """Return the refund: its state, how much of the payment, who wants it since when and why, and what came of it."""
    text = f"refund {problem.refund_state}"
    if problem.refund_amount is not None and problem.currency is not None:
        of_amount = problem.amount is not None and problem.refund_amount < problem.amount
        whole = f" of {money(problem.amount or 0, problem.currency)}" if of_amount else ""
        text += f", {money(problem.refund_amount, problem.currency)}{whole}"
    at = f" on {problem.refund_at:%Y-%m-%d %H:%M}" if problem.refund_at else ""
    note = f" ({problem.refund_note})" if problem.refund_note else ""
    return f"{text}, by {problem.refund_who}{at}: {problem.refund_why}{note}"
