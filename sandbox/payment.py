"""A payment as PortOne keeps it: V1's fields, and every change that was made to them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.config import DEFAULT_ACCOUNT
from sandbox.money import WireAmount

Fields = dict[str, Any]

LONGEST_MERCHANT_UID = 255
LONGEST_IMP_UID = 64  # a V2 transaction's id has 36 characters

# fmt: off
NULLABLE_FIELDS = (
    "channel", "pg_provider", "emb_pg_provider", "pg_tid", "pg_id", "apply_num", "bank_code", "bank_name",
    "card_code", "card_name", "card_number", "card_type", "card_issuer_code", "card_issuer_name",
    "card_publisher_code", "card_publisher_name", "vbank_code", "vbank_name", "vbank_num", "vbank_holder",
    "name", "buyer_name", "buyer_email", "buyer_tel", "buyer_addr", "buyer_postcode",
    "custom_data", "user_agent", "fail_reason", "cancel_reason", "receipt_url",
    "customer_uid", "customer_uid_usage", "promotion",
)
TIME_FIELDS = ("vbank_date", "vbank_issued_at", "started_at", "paid_at", "failed_at", "cancelled_at")
# fmt: on

OWN_TIME_OF_STATUS = {
    "ready": "started_at",
    "paid": "paid_at",
    "cancelled": "cancelled_at",
    "failed": "failed_at",
}


def blank_fields() -> Fields:
    """Return V1's payment object before anything happened: unknown texts are null, unknown times 0."""
    return {
        "imp_uid": "",
        "merchant_uid": "",
        "pay_method": "card",
        "amount": 0,
        "cancel_amount": 0,
        "currency": "KRW",
        "status": "ready",
        "sandbox": False,
        "escrow": False,
        "card_quota": 0,
        "cash_receipt_issued": False,
        "cancel_history": [],
        "cancel_receipt_urls": [],
        **dict.fromkeys(NULLABLE_FIELDS),
        **dict.fromkeys(TIME_FIELDS, 0),
    }


class Owner(NamedTuple):
    """The owner of a payment, or of a call: an account and, under it, a sub-store's tier."""

    account: str = DEFAULT_ACCOUNT
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of some fields. `number` orders all changes of a ledger, because seconds would tie."""

    number: int
    at: float
    fields: Fields


@dataclass(frozen=True, slots=True)
class Seen:
    """A payment as a reader sees it, now or some seconds ago."""

    fields: Fields
    opened_number: int
    changed_number: int


@dataclass(frozen=True, slots=True)
class PendingCancel:
    """A refund that an asynchronous channel has accepted and not yet made."""

    amount: WireAmount
    reason: str | None
    webhook: bool


@dataclass(slots=True)
class Payment:
    """One attempt to pay: V1's fields, and beside them what V1 does not show."""

    imp_uid: str
    merchant_uid: str
    tier: str | None = None
    test: bool = False
    notice_urls: tuple[str, ...] = ()
    """The addresses that its webhooks go to instead of the console's URL."""
    async_cancel: bool = False
    pending_cancels: list[PendingCancel] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    fields: Fields = field(default_factory=dict)
    account: str = DEFAULT_ACCOUNT

    @property
    def owner(self) -> Owner:
        return Owner(self.account, self.tier)

    def apply(self, change: Change) -> None:
        """Make a change. The fields are replaced, never altered in place, so that earlier states stay as they were."""
        self.changes.append(change)
        self.fields = self.fields | change.fields

    @property
    def status(self) -> object:
        """Return V1's status, or the value that a test has put there."""
        return self.fields["status"]

    @property
    def account_issued(self) -> bool:
        """Say whether a virtual account waits for its deposit."""
        return self.status == "ready" and bool(self.fields["vbank_num"])

    def seen(self) -> Seen:
        """Return the payment as it is."""
        return Seen(self.fields, self.changes[0].number, self.changes[-1].number)

    def seen_as_of(self, moment: float) -> Seen | None:
        """Return the payment as it was, or None when it did not exist yet."""
        past = [change for change in self.changes if change.at <= moment]
        if not past:
            return None
        fields: Fields = {}
        for change in past:
            fields |= change.fields
        return Seen(fields, past[0].number, past[-1].number)
