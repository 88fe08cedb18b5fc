"""The answer to a browser that says "I have paid", from what is stored of the payment that it names."""

from dataclasses import dataclass
from enum import StrEnum

from service.domain.notice import NOT_ASKED, Outcome
from service.domain.order import IS_REACHED, Order, ProblemKind, State, VersionedOrder
from service.domain.payment import Payment, Status
from service.domain.settle import disagreements, settle


class CompletionRefusal(StrEnum):
    """A reason to answer a completion 400; the values are the problem documents' stable types."""

    WRONG_AMOUNT = "wrong-amount"
    WRONG_CURRENCY = "wrong-currency"
    WRONG_STORE = "wrong-store"
    TEST_CHANNEL = "test-channel"
    OTHER_ORDER = "other-order"
    BILLING_KEY_ISSUE = "billing-key-issue"
    PAYMENT_FAILED = "payment-failed"
    PAYMENT_UNKNOWN = "payment-unknown"


class Unsettled(StrEnum):
    """A reason why nothing final can be said yet: a completion is answered 202."""

    WINDOW_OPEN = "window-open"
    PORTONE_NOT_ANSWERING = "portone-not-answering"
    ANSWER_UNREADABLE = "answer-unreadable"
    ORDER_NOT_REGISTERED = "order-not-registered"
    NOT_LOOKED_YET = "not-looked-yet"


@dataclass(frozen=True, slots=True)
class Verified:
    """The payment is real and agrees with its order: a completion is answered 200."""

    state: State


CompletionAnswer = Verified | CompletionRefusal | Unsettled

_REFUSALS = {
    ProblemKind.WRONG_STORE: CompletionRefusal.WRONG_STORE,
    ProblemKind.TEST_CHANNEL: CompletionRefusal.TEST_CHANNEL,
    ProblemKind.WRONG_CURRENCY: CompletionRefusal.WRONG_CURRENCY,
    ProblemKind.WRONG_AMOUNT: CompletionRefusal.WRONG_AMOUNT,
    ProblemKind.BILLING_KEY_ISSUE: CompletionRefusal.BILLING_KEY_ISSUE,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and whether it is worth waiting for a better one."""

    answer: CompletionAnswer
    final: bool


def reply(
    claimed_merchant_uid: str | None, payment: Payment | None, order: Order | None, outcome: Outcome | None
) -> Reply:
    """Say what to tell a caller, from what is stored and from what the look for its notice came to.

    `outcome` None: PortOne has not been asked on its behalf yet, so nothing stored may refuse it.
    """
    stored = answer(claimed_merchant_uid, payment, order) if payment else None
    if isinstance(stored, Verified) and stored.state in IS_REACHED:
        return Reply(stored, final=True)
    if outcome is None:
        return Reply(Unsettled.NOT_LOOKED_YET, final=False)
    if outcome is Outcome.ANSWER_UNREADABLE:
        return Reply(Unsettled.ANSWER_UNREADABLE, final=False)
    if outcome in NOT_ASKED:
        return Reply(Unsettled.PORTONE_NOT_ANSWERING, final=False)
    if stored is None and outcome is Outcome.ORDER_NOT_REGISTERED:
        return Reply(Unsettled.ORDER_NOT_REGISTERED, final=False)
    if stored is None:
        return Reply(CompletionRefusal.PAYMENT_UNKNOWN, final=False)
    return Reply(stored, final=not isinstance(stored, Unsettled) and outcome is not Outcome.CLAIMS_MORE)


def answer(claimed_merchant_uid: str | None, payment: Payment, order: Order | None) -> CompletionAnswer:
    """Say what the named payment means for its own order, which is the one that PortOne names.

    The claimed number only ever refuses: a real payment is never told of another order than its own.
    """
    if claimed_merchant_uid is not None and claimed_merchant_uid != payment.merchant_uid:
        return CompletionRefusal.OTHER_ORDER
    if order is None:
        return Unsettled.ORDER_NOT_REGISTERED
    if payment.status is Status.FAILED:
        return CompletionRefusal.PAYMENT_FAILED
    if payment.status is Status.READY:
        return Unsettled.WINDOW_OPEN
    if kinds := disagreements(order, payment):
        return _REFUSALS[kinds[0]]
    return Verified(settle(order, [payment]).state)


@dataclass(frozen=True, slots=True)
class Searched:
    """The end of a search for an order's payments. `window_open`: the newest of them is a window that is open."""

    outcome: Outcome
    window_open: bool = False


def order_reply(order: VersionedOrder | None, searched: Searched | None) -> Reply:
    """Say what to tell a caller who names an order and no payment: all of the order's payments count.

    `searched` is the end of a search on the caller's behalf. None: PortOne has not been asked yet.
    """
    if order is None:
        return Reply(Unsettled.ORDER_NOT_REGISTERED, final=True)
    state = order.settlement.state
    if state in IS_REACHED:
        return Reply(Verified(state), final=True)
    if reason := why_not_asked(searched):
        return Reply(reason, final=False)
    return _unreached_reply(order, state, window_open=searched is not None and searched.window_open)


def why_not_asked(searched: Searched | None) -> Unsettled | None:
    """Return why a search has no answer of PortOne's yet. None: it has one."""
    if searched is None:
        return Unsettled.NOT_LOOKED_YET
    if searched.outcome is Outcome.ANSWER_UNREADABLE:
        return Unsettled.ANSWER_UNREADABLE
    return Unsettled.PORTONE_NOT_ANSWERING if searched.outcome in NOT_ASKED else None


def _unreached_reply(order: VersionedOrder, state: State, window_open: bool) -> Reply:
    kinds = {problem.kind for problem in order.settlement.problems}
    refusals = [refusal for kind, refusal in _REFUSALS.items() if kind in kinds]
    match state:
        case State.AWAITING_DEPOSIT:
            return Reply(Verified(state), final=True)
        case _ if ProblemKind.UNREADABLE_PAYMENT in kinds:
            # Before any refusal: whoever reads that a payment failed pays again, and this one may hold money.
            return Reply(Unsettled.ANSWER_UNREADABLE, final=False)
        case _ if refusals:
            return Reply(refusals[0], final=True)
        case _ if window_open:
            return Reply(Unsettled.WINDOW_OPEN, final=False)
        case State.FAILED:
            return Reply(CompletionRefusal.PAYMENT_FAILED, final=True)
        case State.PENDING | State.MISMATCHED | State.PAID | State.PARTIALLY_CANCELLED | State.CANCELLED:
            return Reply(CompletionRefusal.PAYMENT_UNKNOWN, final=False)
