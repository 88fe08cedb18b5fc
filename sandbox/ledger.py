"""Every payment of the accounts, and the moves that each may make. No I/O; the clock is given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sandbox import refunds
from sandbox.config import DEFAULT_ACCOUNT
from sandbox.errors import AlreadyPaid, OtherAmountPrepared, Refused, UnknownPayment
from sandbox.money import read_amount, to_wire
from sandbox.payment import Change, Fields, Owner, Payment, PendingCancel, blank_fields
from sandbox.refunds import Refund

Clock = Callable[[], float]

VBANK_LIFE_SECONDS = 3 * 24 * 3600  # a usual deposit window; PortOne lets the shop choose
TEST_STORE, LIVE_STORE = "INIpayTest", "MOIsandbox"


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms that a payment window is opened with."""

    merchant_uid: str
    amount: Decimal
    currency: str = "KRW"
    tier: str | None = None
    test: bool = False
    pay_method: str = "card"
    imp_uid: str | None = None
    notice_urls: tuple[str, ...] = ()
    async_cancel: bool = False
    fields: Fields = field(default_factory=dict)
    account: str = DEFAULT_ACCOUNT

    @property
    def owner(self) -> Owner:
        return Owner(self.account, self.tier)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An amount that a shop has registered before the window opens. Without a currency only the amount is compared."""

    amount: Decimal
    currency: str | None = None

    def allows(self, amount: Decimal, currency: str) -> bool:
        """Say whether a window may ask for this."""
        return self.amount == amount and self.currency in (None, currency)


class Ledger:
    """PortOne's memory. Every move raises Refused when the payment cannot make it, unless forced."""

    def __init__(self, clock: Clock, on_change: Callable[[Payment], None] = lambda _payment: None) -> None:
        self._clock, self._on_change = clock, on_change
        self._payments: dict[str, Payment] = {}
        self._by_merchant_uid: dict[str, list[Payment]] = {}
        self._last_imp_number = 0
        self.prepared: dict[tuple[Owner, str], Prepared] = {}
        """The registered amounts by owner and merchant_uid."""
        self.revision = 0
        """Goes up with every change, so that a saver knows when there is something to save."""

    # Reading

    def payments(self) -> Iterable[Payment]:
        """Return all payments, first opened first."""
        return self._payments.values()

    def payment(self, imp_uid: str) -> Payment:
        """Return one payment. Raises UnknownPayment."""
        try:
            return self._payments[imp_uid]
        except KeyError:
            raise UnknownPayment(f"There is no payment {imp_uid}.") from None

    def known(self, imp_uids: Iterable[str]) -> list[Payment]:
        """Return the payments that there are of these."""
        return [self._payments[imp_uid] for imp_uid in imp_uids if imp_uid in self._payments]

    def attempts(self, merchant_uid: str) -> list[Payment]:
        """Return all payments opened for an order, first opened first."""
        return self._by_merchant_uid.get(merchant_uid, [])

    # Moves

    def open(self, terms: Terms, *, force: bool = False) -> Payment:
        """Open a payment in `ready`. Raises AlreadyPaid or OtherAmountPrepared where the SDK opens no window."""
        if not force:
            self._check_window(terms)
        imp_uid = terms.imp_uid or self.new_imp_uid()
        if imp_uid in self._payments:
            raise Refused(f"There is a payment {imp_uid} already.")
        payment = Payment(
            imp_uid,
            terms.merchant_uid,
            terms.tier,
            terms.test,
            terms.notice_urls,
            terms.async_cancel,
            account=terms.account,
        )
        self.add(payment)
        self._change(payment, self._opening_fields(imp_uid, terms))
        return payment

    def pay(self, payment: Payment, *, force: bool = False) -> None:
        """Pay. A `failed` payment may still become `paid`, as PayPal's pending payments do."""
        payable = payment.status in ("ready", "failed") and not payment.account_issued
        _require(payable or force, f"A payment that is {_named(payment)} cannot be paid.")
        self._change(payment, {"status": "paid", "paid_at": self._now(), **_approval(payment)})

    def fail(self, payment: Payment, reason: str, *, force: bool = False) -> None:
        """Let the attempt fail."""
        _require(payment.status == "ready" or force, f"A payment that is {_named(payment)} cannot fail.")
        self._change(payment, {"status": "failed", "failed_at": self._now(), "fail_reason": reason})

    def issue(self, payment: Payment, due_at: int | None = None, *, force: bool = False) -> None:
        """Issue a virtual account. The payment stays `ready` and gets an account's number."""
        open_window = payment.status == "ready" and not payment.account_issued
        _require(open_window or force, f"A payment that is {_named(payment)} cannot get a virtual account.")
        issued_at = self._now()
        account = {
            "pay_method": "vbank",
            "vbank_code": "004",
            "vbank_name": "KB국민은행",
            "vbank_num": f"{payment.changes[0].number:014d}",
            "vbank_holder": "샌드박스",
            "vbank_date": due_at or issued_at + VBANK_LIFE_SECONDS,
            "vbank_issued_at": issued_at,
        }
        self._change(payment, {"status": "ready", **account})

    def deposit(self, payment: Payment, *, force: bool = False) -> None:
        """Transfer the money into the account. For a voided account nothing changes, as at PortOne."""
        if payment.status == "cancelled" and payment.fields["vbank_num"] and not force:
            return
        issued = payment.account_issued or force
        _require(issued, f"A payment that is {_named(payment)} waits for no deposit.")
        self._change(payment, {"status": "paid", "paid_at": self._now(), **_approval(payment)})

    def expire(self, payment: Payment, *, force: bool = False) -> None:
        """Let the virtual account's due time pass. The payment stays `ready`."""
        issued = payment.account_issued or force
        _require(issued, f"A payment that is {_named(payment)} has no virtual account to expire.")
        self._change(payment, {"vbank_date": self._now() - 1})

    def abandon(self, payment: Payment, *, force: bool = False) -> None:
        """Close the window without paying. The payment stays `ready` for ever."""
        open_window = payment.status == "ready" and not payment.account_issued
        _require(open_window or force, f"A payment that is {_named(payment)} has no open window.")

    def void(self, payment: Payment, reason: str | None) -> None:
        """Close a virtual account that was issued. The payment is `cancelled`, though no money ever came."""
        issued = payment.account_issued
        _require(issued, f"A payment that is {_named(payment)} has no virtual account to void.")
        cancelled_at = self._now()
        self._change(payment, {"status": "cancelled", "cancelled_at": cancelled_at, "cancel_reason": reason})

    def cancel(self, payment: Payment, refund: Refund, *, force: bool = False) -> None:
        """Give money back, or accept to do so later where the channel is asynchronous."""
        asked_for = refund.amount or refunds.refundable(payment)
        amount = asked_for if force else refunds.check(payment, refund)
        if payment.async_cancel:
            wire_amount = to_wire(amount, str(payment.fields["currency"]))
            payment.pending_cancels.append(PendingCancel(wire_amount, refund.reason, refund.webhook))
            self.revision += 1
        else:
            self._refund(payment, amount, refund.reason)

    def finish_cancel(self, payment: Payment) -> None:
        """Make the oldest refund that the asynchronous channel has accepted."""
        _require(bool(payment.pending_cancels), "No refund of this payment is under way.")
        pending = payment.pending_cancels.pop(0)
        self._refund(payment, read_amount(pending.amount), pending.reason)

    def overwrite(self, payment: Payment, fields: Fields) -> None:
        """Put raw values, possible or not, into what V1 shows. The payment is still found by its first ids."""
        self._change(payment, fields)

    def move_to_test_channel(self, payment: Payment) -> None:
        """Let the payment be one of a test channel: no money moves."""
        payment.test = True
        self._change(payment, {"sandbox": True, "pg_id": TEST_STORE})

    def prepare(self, owner: Owner, merchant_uid: str, terms: Prepared) -> None:
        """Register what a window for this order must ask for."""
        self.prepared[owner, merchant_uid] = terms
        self.revision += 1

    def prepared_for(self, owner: Owner, merchant_uid: str) -> Prepared | None:
        """Return what was registered for this order, or None."""
        return self.prepared.get((owner, merchant_uid))

    def clear(self) -> None:
        """Forget everything. Ids and change numbers go on, so that none is used again."""
        self._payments.clear()
        self._by_merchant_uid.clear()
        self.prepared.clear()
        self.revision += 1

    # Loading

    def add(self, payment: Payment) -> None:
        """Add a payment with its changes, on opening and when a saved state is loaded."""
        self._payments[payment.imp_uid] = payment
        self._by_merchant_uid.setdefault(payment.merchant_uid, []).append(payment)
        if payment.changes:
            self.revision = max(self.revision, payment.changes[-1].number)

    # Inside

    def _check_window(self, terms: Terms) -> None:
        attempts = self.attempts(terms.merchant_uid)
        if any(payment.owner == terms.owner and payment.status == "paid" for payment in attempts):
            raise AlreadyPaid(f"{terms.merchant_uid} is already paid (the SDK's F1002).")
        prepared = self.prepared_for(terms.owner, terms.merchant_uid)
        if prepared is not None and not prepared.allows(terms.amount, terms.currency):
            shown = " ".join(filter(None, [str(prepared.amount), prepared.currency]))
            raise OtherAmountPrepared(f"The amount prepared for {terms.merchant_uid} is {shown}.")

    def _opening_fields(self, imp_uid: str, terms: Terms) -> Fields:
        return blank_fields() | {
            "imp_uid": imp_uid,
            "merchant_uid": terms.merchant_uid,
            "amount": to_wire(terms.amount, terms.currency),
            "currency": terms.currency,
            "pay_method": terms.pay_method,
            "sandbox": terms.test,
            "channel": "pc",
            "pg_provider": "html5_inicis",
            "pg_id": TEST_STORE if terms.test else LIVE_STORE,
            "started_at": self._now(),
            **terms.fields,
        }

    def _refund(self, payment: Payment, amount: Decimal, reason: str | None) -> None:
        self._change(payment, refunds.refunded_fields(payment.fields, amount, reason, self._now()))

    def _change(self, payment: Payment, fields: Fields) -> None:
        self.revision += 1
        payment.apply(Change(self.revision, self._clock(), fields))
        self._on_change(payment)

    def _now(self) -> int:
        return int(self._clock())

    def new_imp_uid(self) -> str:
        """Return an unused id. PortOne's are the time in ms without its first digit."""
        self._last_imp_number = max(self._last_imp_number + 1, int(self._clock() * 1000))
        while (imp_uid := f"imp_{self._last_imp_number % 10**12:012d}") in self._payments:
            self._last_imp_number += 1
        return imp_uid


def _require(allowed: bool, sentence: str) -> None:
    if not allowed:
        raise Refused(sentence)


def _named(payment: Payment) -> str:
    return "waiting for a deposit" if payment.account_issued else str(payment.status)


def _approval(payment: Payment) -> dict[str, Any]:
    """Return the fields that an approval fills in, by the method of payment."""
    approval: dict[str, Any] = {
        "pg_tid": f"tid_{payment.imp_uid}",
        "receipt_url": f"https://receipt.invalid/{payment.imp_uid}",
    }
    match payment.fields["pay_method"]:
        case "card":
            card = {"card_code": "361", "card_name": "BC카드", "card_number": "910020*********1", "card_type": 0}
            approval |= {"apply_num": f"{payment.changes[0].number:08d}", **card}
        case "trans":
            approval |= {"bank_code": "004", "bank_name": "KB국민은행"}
        case _:
            pass
    return approval
