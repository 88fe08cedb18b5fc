"""The rules of refunds: which money goes back without a person's word, and how a refund ends. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from service.domain.money import is_known
from service.domain.order import Order, ProblemKind
from service.domain.payment import Payment, Status
from service.domain.settle import settle


class Action(StrEnum):
    """An action on money that should not be there."""

    HOLD = "hold"
    REFUND = "refund"


class RefundState(StrEnum):
    """The state of a refund: intended → asked → one of the ends; one that was never sent may be withdrawn."""

    INTENDED = "intended"
    ASKED = "asked"
    REFUNDED = "refunded"
    REFUSED = "refused"
    REFUND_UNKNOWN = "refund_unknown"
    WITHDRAWN = "withdrawn"


class Hold(StrEnum):
    """A reason not to give money back now; its value is the text that a person reads."""

    NO_FINDING = "no longer a finding that may be refunded"
    OTHER_FINDING = "the finding has changed since"
    POLICY = "ON_MISMATCH, ON_DUPLICATE or ON_PAID_AFTER_CLOSE says hold"
    RESOLVED = "a person has resolved the problem"
    TEST_CHANNEL = "a test payment holds no money"
    REGRESSED = "PortOne has since reported less of the payment"
    UNREADABLE = "PortOne's answer about a payment of the order cannot be read"
    REFUND_ACCOUNT = "it may need an account to refund to"
    CURRENCY = "the currency's decimals are not known"
    OTHER_ACCOUNT = "the payment's PortOne account is not configured"
    NOT_FRESH = "PortOne could not be asked about all the order's payments"
    HOURLY_CAP = "REFUND_MAX_PER_HOUR is reached"


class CancelResult(StrEnum):
    """The meaning of PortOne's answer to a cancel."""

    DONE = "done"  # the money is back
    ACCEPTED = "accepted"  # code 0, and not done yet: an asynchronous channel
    REFUSED = "refused"  # a definite no
    UNKNOWN = "unknown"  # no answer, or none that can be read: it may have been done


_MISMATCHES = frozenset({ProblemKind.WRONG_AMOUNT, ProblemKind.WRONG_CURRENCY, ProblemKind.WRONG_STORE})


@dataclass(frozen=True, slots=True)
class Policy:
    """The refunds that the operator allows without a person: ON_MISMATCH, ON_DUPLICATE, ON_PAID_AFTER_CLOSE."""

    on_mismatch: Action = Action.HOLD
    on_duplicate: Action = Action.HOLD
    on_paid_after_close: Action = Action.HOLD

    @property
    def kinds(self) -> frozenset[ProblemKind]:
        """The kinds of problem that are refunded without a person."""
        mismatches = _MISMATCHES if self.on_mismatch is Action.REFUND else frozenset()
        duplicates = {ProblemKind.DUPLICATE_PAYMENT} if self.on_duplicate is Action.REFUND else set()
        late = {ProblemKind.PAID_AFTER_CLOSE} if self.on_paid_after_close is Action.REFUND else set()
        return mismatches | duplicates | late


# A person may have all of these refunded, whatever the policy.
BY_PERSON = Policy(Action.REFUND, Action.REFUND, Action.REFUND)


@dataclass(frozen=True, slots=True)
class Refundable:
    """A payment whose whole remaining balance may go back, and the problems that allow it, sorted."""

    kinds: tuple[ProblemKind, ...]
    payment: Payment


@dataclass(frozen=True, slots=True)
class Asked:
    """A refund that was asked for: all that the payment held, in the smallest unit."""

    imp_uid: str
    amount: int
    cancellations_before: int
    refused: bool
    age: timedelta


def rule_on_refund(order: Order, payments: Sequence[Payment], imp_uid: str, policy: Policy) -> Refundable | Hold:
    """Decide whether this payment's money may go back, by what `settle` finds in all the order's payments."""
    problems = {problem.kind for problem in settle(order, payments).problems if problem.imp_uid == imp_uid}
    kinds = problems & BY_PERSON.kinds
    payment = next((payment for payment in payments if payment.imp_uid == imp_uid), None)
    if payment is None or not payment.held or not kinds:
        return Hold.NO_FINDING
    if hold := _permanent_hold(payment, problems):
        return hold
    if any(other.unreadable for other in payments):  # it may have been the one to keep, and been given back since
        return Hold.UNREADABLE
    return Refundable(tuple(sorted(kinds)), payment) if kinds <= policy.kinds else Hold.POLICY


def _permanent_hold(payment: Payment, problems: set[ProblemKind]) -> Hold | None:
    """Return why this payment can only be refunded by hand, in PortOne's console; None if it can be from here."""
    if not payment.live or ProblemKind.TEST_CHANNEL in problems:
        return Hold.TEST_CHANNEL
    if payment.regressed or ProblemKind.REGRESSED_PAYMENT in problems:
        return Hold.REGRESSED
    if _may_need_account(dict(payment.details)):
        return Hold.REFUND_ACCOUNT
    return None if is_known(payment.currency) else Hold.CURRENCY


def _may_need_account(details: dict[str, str | int]) -> bool:
    """Return whether a refund may need a bank account, as one of a deposit does. An unknown method may be a deposit."""
    return details.get("pay_method", "vbank") == "vbank" or "vbank_name" in details or "vbank_date" in details


def may_begin(state: RefundState) -> bool:
    """Return whether a person may begin a round after this state: nothing was sent, or it was definitely refused."""
    match state:
        case RefundState.WITHDRAWN | RefundState.REFUSED | RefundState.INTENDED:
            return True
        case RefundState.ASKED | RefundState.REFUNDED | RefundState.REFUND_UNKNOWN:
            return False


def is_refunded(asked: Asked, payment: Payment) -> bool:
    """Return whether PortOne's facts show the refund: cancelled, nothing held, and a new row of cancel_history."""
    return (
        payment.imp_uid == asked.imp_uid
        and payment.status is Status.CANCELLED
        and payment.cancelled_amount >= asked.amount
        and payment.held == 0
        and payment.cancellations > asked.cancellations_before
    )


def after_look(asked: Asked, payment: Payment | None, *, looked: bool, unknown_after: timedelta) -> RefundState | None:
    """Return how a refund that was asked for ended, after a look; None if that is not known yet.

    `looked`: the payment was looked at after the call was answered. "Already cancelled" is a refusal too, so the facts
    come first. A refund that neither happened nor was refused in time is left to a person.
    """
    if payment is not None and is_refunded(asked, payment):
        return RefundState.REFUNDED
    if asked.refused and looked:
        return RefundState.REFUSED
    return RefundState.REFUND_UNKNOWN if asked.age >= unknown_after else None
