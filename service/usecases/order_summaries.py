"""An order in a few facts, for a person who has ten seconds: what does not count, and who closed it and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.db.order_events import Event
from service.db.order_story import StoredPayment
from service.db.order_views import OrderView
from service.domain.evidence import Cause
from service.domain.order import ProblemKind, State

_CLOSES = frozenset({Cause.WITHDRAWAL, Cause.EXPIRY})


@dataclass(frozen=True, slots=True)
class HeldMoney:
    """Money that PortOne holds for the order and that does not count, with the problems that say why."""

    imp_uid: str
    amount: int
    currency: str
    kinds: Sequence[str]


@dataclass(frozen=True, slots=True)
class OrderSummary:
    """The facts that an order's state alone does not say.

    `uncounted` is money that PortOne holds beside what counts, `second` such money of a further payment that agrees.
    `tests` names test payments where no money came. `failed` is the last attempt, where it failed. `closed_by` is the
    version that closed the order. `asked_at` is when PortOne was last asked, and answered; None: never, as known.
    """

    uncounted: Sequence[HeldMoney]
    second: Sequence[HeldMoney]
    tests: Sequence[str]
    failed: StoredPayment | None
    closed_by: Event | None
    asked_at: datetime | None


def summarize(
    view: OrderView, payments: Sequence[StoredPayment], events: Sequence[Event], asked_at: datetime | None
) -> OrderSummary:
    """Say what stands beside the order's state. `payments` are the newest first, `events` the oldest first. Pure."""
    settlement = view.order.settlement
    kinds: dict[str, list[str]] = {}
    for problem in settlement.problems:
        kinds.setdefault(problem.imp_uid, []).append(problem.kind)
    counted = settlement.imp_uid if settlement.paid_amount else None
    held = [_held(payment, kinds) for payment in payments if payment.live and payment.imp_uid != counted]
    uncounted = [money for money in held if money.amount]
    is_second = {money.imp_uid: ProblemKind.DUPLICATE_PAYMENT in money.kinds for money in uncounted}
    without_money = not settlement.paid_amount and not uncounted
    return OrderSummary(
        uncounted=[money for money in uncounted if not is_second[money.imp_uid]],
        second=[money for money in uncounted if is_second[money.imp_uid]],
        tests=[payment.imp_uid for payment in payments if not payment.live and payment.held] if without_money else [],
        failed=_failed(payments) if settlement.state is State.FAILED else None,
        closed_by=_closed_by(events) if view.order.terms.closed else None,
        asked_at=asked_at,
    )


def _held(payment: StoredPayment, kinds: Mapping[str, Sequence[str]]) -> HeldMoney:
    return HeldMoney(payment.imp_uid, payment.held, payment.currency, kinds.get(payment.imp_uid, ()))


def _failed(payments: Sequence[StoredPayment]) -> StoredPayment | None:
    failed = [payment for payment in payments if payment.status == "failed"]
    return max(failed, key=lambda payment: (_failed_at(payment), payment.imp_uid), default=None)


def _failed_at(payment: StoredPayment) -> int:
    at = payment.details.get("failed_at")
    return at if isinstance(at, int) else 0


def _closed_by(events: Sequence[Event]) -> Event | None:
    return next((event for event in reversed(events) if event.evidence.cause in _CLOSES), None)
