"""The rule that decides an order's state, from its terms and its payments as last seen."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from service.domain.order import Order, Problem, ProblemKind, Settlement, State
from service.domain.payment import Payment, Status


def settle(order: Order, payments: Iterable[Payment]) -> Settlement:
    """Say what PortOne's payments, as last seen, mean for the order. Pure and total."""
    compared = [(payment, disagreements(order, payment)) for payment in sorted(payments, key=_chronologically)]
    agreeing = [payment for payment, wrong in compared if not wrong]
    holding = [payment for payment in agreeing if payment.held]
    if holding:
        first = holding[0]
        state = State.PARTIALLY_CANCELLED if first.cancelled_amount else State.PAID
        payment: Payment | None = first
    elif mismatched := [payment for payment, wrong in compared if _is_other_money(payment, wrong)]:
        state, payment = State.MISMATCHED, mismatched[0]
    else:
        state, payment = _without_money(agreeing)
    problems = tuple(sorted(_problems(order, compared, holding)))
    return _settlement(state, payment, problems)


def disagreements(order: Order, payment: Payment) -> tuple[ProblemKind, ...]:
    """Return what keeps this payment from paying this order, the most serious first; empty if they agree."""
    is_test = not payment.live and not order.allow_test_channel
    if payment.only_issued_key and not order.allow_billing_key_issue:
        # Whatever else is wrong: where no money moved, none can be wrong, be left over, or be given back.
        return (ProblemKind.TEST_CHANNEL,) if is_test else (ProblemKind.BILLING_KEY_ISSUE,)
    kinds = []
    if payment.store != order.store:
        kinds.append(ProblemKind.WRONG_STORE)
    if is_test:
        kinds.append(ProblemKind.TEST_CHANNEL)
    if payment.currency != order.currency:
        kinds.append(ProblemKind.WRONG_CURRENCY)
    if payment.amount != order.amount:
        kinds.append(ProblemKind.WRONG_AMOUNT)
    return tuple(kinds)


def _is_other_money(payment: Payment, wrong: Sequence[ProblemKind]) -> bool:
    """Return whether the payment holds money that disagrees with the order; a billing key's issue is no money."""
    return bool(wrong and payment.live and payment.held) and ProblemKind.BILLING_KEY_ISSUE not in wrong


_NEVER = datetime.max.replace(tzinfo=UTC)


def _chronologically(payment: Payment) -> tuple[datetime, datetime, str]:
    """Return a sort key: the time of payment, then that of the window, then the imp_uid."""
    return payment.paid_at or _NEVER, payment.started_at or _NEVER, payment.imp_uid


def _without_money(agreeing: Sequence[Payment]) -> tuple[State, Payment | None]:
    """Return the state of an order for which no money is held, and the payment that decides it.

    An account that waits for a deposit decides first, then cancelled payments, then failed ones; of several the latest.
    A refund comes before an account that was voided, because the order reports money. A payment that is still `paid`
    but wholly given back counts as cancelled.
    """
    for statuses, state in (
        ((Status.ISSUED,), State.AWAITING_DEPOSIT),
        ((Status.CANCELLED, Status.PAID), State.CANCELLED),
        ((Status.FAILED,), State.FAILED),
    ):
        matching = [payment for payment in agreeing if payment.status in statuses]
        if matching:
            return state, max(reversed(matching), key=was_paid)
    return State.PENDING, None


def _problems(
    order: Order, compared: Sequence[tuple[Payment, Sequence[ProblemKind]]], holding: Sequence[Payment]
) -> Iterator[Problem]:
    """Yield the problems: disagreements once money is held or about to be sent, duplicates once both hold money.

    No order is closed while money of it is known (service/usecases/closing.py), so what a closed order holds came
    later, or was not known then. Further payments of it are duplicates, as of any order.
    """
    for payment, wrong in compared:
        if payment.held or payment.status is Status.ISSUED:
            for kind in wrong:
                yield Problem(kind, payment.imp_uid)
        if payment.regressed:
            yield Problem(ProblemKind.REGRESSED_PAYMENT, payment.imp_uid)
        if payment.refund_unknown:
            yield Problem(ProblemKind.REFUND_UNKNOWN, payment.imp_uid)
        if payment.unreadable:
            yield Problem(ProblemKind.UNREADABLE_PAYMENT, payment.imp_uid)
    if order.closed and holding:
        yield Problem(ProblemKind.PAID_AFTER_CLOSE, holding[0].imp_uid)
    for second in holding[1:]:
        yield Problem(ProblemKind.DUPLICATE_PAYMENT, second.imp_uid)


def _settlement(state: State, payment: Payment | None, problems: tuple[Problem, ...]) -> Settlement:
    imp_uid, test_channel = (payment.imp_uid, not payment.live) if payment else (None, False)
    match state:
        case State.PAID | State.PARTIALLY_CANCELLED | State.CANCELLED if payment and was_paid(payment):
            cancelled = payment.amount - payment.held
            return Settlement(state, payment.amount, cancelled, imp_uid, problems, test_channel)
        case (
            State.PENDING
            | State.AWAITING_DEPOSIT
            | State.PAID
            | State.PARTIALLY_CANCELLED
            | State.CANCELLED
            | State.FAILED
            | State.MISMATCHED
        ):
            return Settlement(state, 0, 0, imp_uid, problems, test_channel)


def was_paid(payment: Payment) -> bool:
    """Return whether money ever came: an account voided before its deposit is cancelled too, but never held any."""
    match payment.status:
        case Status.PAID:
            return True
        case Status.CANCELLED:
            return payment.cancelled_amount > 0 or payment.paid_at is not None
        case Status.READY | Status.ISSUED | Status.FAILED:
            return False
