"""The rule for accepting a payment as it is: the order takes on its amount, by a person's word. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from service.domain.order import Order, ProblemKind, State
from service.domain.payment import Payment
from service.domain.refund import RefundState
from service.domain.settle import disagreements, settle

_PAID = frozenset({State.PAID, State.PARTIALLY_CANCELLED})
# The money is with the buyer by now, or may be.
_SENT = frozenset({RefundState.ASKED, RefundState.REFUNDED, RefundState.REFUND_UNKNOWN})


class Unacceptable(StrEnum):
    """A reason not to accept a payment; its value is the text that a person reads."""

    UNKNOWN = "no such payment of this order is stored"
    NO_MONEY = "PortOne holds no money for it"
    UNREADABLE = "PortOne's newest answer about it cannot be read"
    REGRESSED = "PortOne has since reported less of it"
    OTHER_KIND = "more than its amount disagrees with the order"
    OTHER_PAYS = "another payment pays the order"
    REFUND_SENT = "its refund was asked for"


def rule_on_acceptance(
    order: Order, payments: Sequence[Payment], imp_uid: str, refund: RefundState | None
) -> Order | Unacceptable:
    """Return the order's terms with the payment accepted, or why it cannot be.

    The order takes on the payment's amount, and is open again if it was closed. Only an amount is accepted, because
    money in another currency or store, or a test payment, is not what the order asks for. Accepting it twice changes
    nothing.
    """
    payment = next((payment for payment in payments if payment.imp_uid == imp_uid), None)
    if payment is None:
        return Unacceptable.UNKNOWN
    if not payment.held:
        return Unacceptable.NO_MONEY
    if refund in _SENT or payment.refund_unknown:
        return Unacceptable.REFUND_SENT
    if payment.unreadable:
        return Unacceptable.UNREADABLE
    if payment.regressed:
        return Unacceptable.REGRESSED
    if set(disagreements(order, payment)) - {ProblemKind.WRONG_AMOUNT}:
        return Unacceptable.OTHER_KIND
    accepted = replace(order, amount=payment.amount, closed=None)
    before, after = settle(order, payments), settle(accepted, payments)
    if (before.state in _PAID and before.imp_uid != imp_uid) or after.imp_uid != imp_uid:
        return Unacceptable.OTHER_PAYS
    return accepted
