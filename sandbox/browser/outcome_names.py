"""The outcomes of a window, each of which is one of its buttons."""

from enum import StrEnum


class WindowOutcome(StrEnum):
    """An outcome of a window."""

    PAID = "paid"
    VBANK_ISSUED = "vbank_issued"
    FAILED = "failed"
    CLOSED = "closed"
    TAMPERED_AMOUNT = "tampered_amount"
    TAMPERED_CURRENCY = "tampered_currency"
    TEST_CHANNEL = "test_channel"
    SLOW = "slow"
    PAID_WITHOUT_WEBHOOK = "paid_without_webhook"
    WEBHOOK_FIRST = "webhook_first"
    CALLBACK_FIRST = "callback_first"
    PAID_THEN_REFUNDED = "paid_then_refunded"


CERTIFICATION_OUTCOMES = (WindowOutcome.PAID, WindowOutcome.FAILED, WindowOutcome.CLOSED)
