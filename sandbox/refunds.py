"""V1's checks before a refund, and the fields that it writes after one. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.errors import NotANumber, Refused
from sandbox.money import fits, read_amount, to_wire
from sandbox.payment import Fields, Payment

NOTHING_TO_CANCEL = "취소할 결제건이 존재하지 않습니다."
ALREADY_CANCELLED = "이미 전액취소된 주문입니다."
NOT_PAID = "결제완료 상태가 아니므로 취소할 수 없습니다."
TOO_MUCH = "취소요청금액이 취소가능금액보다 큽니다."
WRONG_CHECKSUM = "checksum이 취소가능금액과 일치하지 않습니다."
NO_REFUND_ACCOUNT = "가상계좌 환불에는 refund_holder, refund_bank, refund_account가 필요합니다."
BAD_AMOUNT = "취소요청금액이 올바르지 않습니다."


@dataclass(frozen=True, slots=True)
class Refund:
    """A request for a refund. An amount of None or 0 is everything that is left."""

    amount: Decimal | None = None
    checksum: Decimal | None = None
    reason: str | None = None
    webhook: bool = False
    has_refund_account: bool = True


def refundable(payment: Payment) -> Decimal:
    """Return what is left to give back, without what an asynchronous channel is already refunding."""
    try:
        paid, cancelled = read_amount(payment.fields["amount"]), read_amount(payment.fields["cancel_amount"])
    except NotANumber:
        raise Refused("The payment's amounts are not numbers.") from None
    return paid - cancelled - sum((read_amount(p.amount) for p in payment.pending_cancels), Decimal(0))


def check(payment: Payment, refund: Refund) -> Decimal:
    """Return the amount to give back. Raises Refused with V1's own sentence."""
    if payment.status not in ("paid", "cancelled"):
        raise Refused(NOT_PAID)
    left = refundable(payment)
    amount = refund.amount or left
    if left <= 0:
        raise Refused(ALREADY_CANCELLED)
    if refund.checksum is not None and refund.checksum != left:
        raise Refused(WRONG_CHECKSUM)
    if amount > left:
        raise Refused(TOO_MUCH)
    if amount < 0 or not fits(amount, str(payment.fields["currency"])):
        raise Refused(BAD_AMOUNT)
    if payment.fields["vbank_num"] and not refund.has_refund_account:
        raise Refused(NO_REFUND_ACCOUNT)
    return amount


def refunded_fields(fields: Fields, amount: Decimal, reason: str | None, at: int) -> Fields:
    """Return the fields that one refund changes. `amount` does not shrink; a partial refund is `cancelled` too."""
    history, receipts = _rows(fields["cancel_history"]), _rows(fields["cancel_receipt_urls"])
    currency = str(fields["currency"])
    receipt_url = f"https://receipt.invalid/{fields['imp_uid']}/cancel/{len(history) + 1}"
    row = {
        "pg_tid": fields["pg_tid"],
        "amount": to_wire(amount, currency),
        "cancelled_at": at,
        "reason": reason,
        "cancellation_id": f"{fields['imp_uid']}_cancel_{len(history) + 1}",
        "receipt_url": receipt_url,
    }
    return {
        "status": "cancelled",
        "cancel_amount": to_wire(read_amount(fields["cancel_amount"]) + amount, currency),
        "cancelled_at": at,
        "cancel_reason": reason,
        "cancel_history": [*history, row],
        "cancel_receipt_urls": [*receipts, receipt_url],
    }


def _rows(value: object) -> list[Any]:
    """Return a list, also when a test has put something else there."""
    return value if isinstance(value, list) else []
