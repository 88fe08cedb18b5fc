"""Read V1's payment object. Pure: the object in, a Payment or UnreadableAnswer out (docs/portone.md §1, §4.20).

What no rule needs is left out where it is odd. What a rule needs and cannot be read makes the payment unreadable; if it
may hold money, the error carries what is known of it, so that a person sees it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from service.domain.ids import is_imp_uid, is_merchant_uid, is_plain
from service.domain.money import InexactAmount, exact, is_code, to_minor, whole_to_minor
from service.domain.payment import CUSTOMER_UID_USAGE, Payment, Status, Store
from service.domain.unreadable import UnreadablePayment
from service.errors import UnreadableAnswer, UnreadableMoney
from service.portone.decoding import REPLACEMENT

# Stored beside the facts, for people. Never a buyer, card, account holder or custom_data (docs/design.md §2.11).
_KEPT_TEXTS = frozenset(
    {"pay_method", "pg_provider", "pg_tid", "channel", "vbank_name", "vbank_num", "fail_reason", "receipt_url"}
    | {CUSTOMER_UID_USAGE}
)
_KEPT_TIMES = frozenset({"failed_at", "cancelled_at", "vbank_date"})
_KEPT = tuple((key, key in _KEPT_TIMES) for key in sorted(_KEPT_TEXTS | _KEPT_TIMES))
_KEPT_TEXT_MAX = 300
_RAW_MAX = 60
# Seconds since 1970 up to the year 9999, as far as Postgres and Python both go.
_LAST_SECOND = 253402300799

_STATUSES = {status.value: status for status in (Status.READY, Status.FAILED, Status.PAID, Status.CANCELLED)}


class _Odd(Exception):
    """A field that a rule needs cannot be read."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key} {what}")
        self.key = key


def read_payment(answer: object, store: Store, *, live: bool | None = None, asked: str | None = None) -> Payment:
    """Read PortOne's object of a payment that was asked for under this store.

    `live` decides if the answer lacks `sandbox`, as older ones do. `asked` names the payment that the answer must be
    about, if only one can be meant. Raises UnreadableAnswer: UnreadableMoney, if the payment may hold money.
    """
    if not isinstance(answer, dict):
        raise UnreadableAnswer("the payment is not an object")
    try:
        return _read(answer, store, live)
    except _Odd as odd:
        payment = _unreadable(answer, store, live, asked)
        raise (UnreadableMoney(str(odd), payment) if payment else UnreadableAnswer(str(odd))) from None


def says_channel(answer: object) -> bool:
    """Return whether the answer itself says if this is a test payment."""
    return isinstance(answer, dict) and isinstance(answer.get("sandbox"), bool)


def _read(answer: Mapping[str, Any], store: Store, live: bool | None) -> Payment:
    status, currency = _status(answer), _currency(answer)
    if status in (Status.PAID, Status.CANCELLED):
        _usage(answer)
    return Payment(
        imp_uid=_imp_uid(answer),
        merchant_uid=_merchant_uid(answer),
        store=store,
        status=status,
        amount=_amount(answer, "amount", currency),
        currency=currency,
        cancelled_amount=_cancelled_amount(answer, currency),
        cancellations=_cancellations(answer),
        live=_live(answer, live),
        started_at=_time(answer, "started_at"),
        paid_at=_time(answer, "paid_at"),
        details=tuple(_details(answer)),
    )


def _unreadable(
    answer: Mapping[str, Any], store: Store, live: bool | None, asked: str | None
) -> UnreadablePayment | None:
    """Return what is known of a payment that cannot be read, or None if it holds no money or cannot be named."""
    known, odd = _read_apart(answer, live)
    imp_uid = known.get("imp_uid", asked)
    if imp_uid is None or known.get("status") in (Status.READY, Status.FAILED):
        return None
    currency = known.get("currency")
    if currency is None:
        odd |= {"amount"}  # not odd, but without a currency only a person may guess what it means
    return UnreadablePayment(
        imp_uid=imp_uid,
        merchant_uid=known.get("merchant_uid"),
        store=store,
        odd=tuple((key, _raw(answer.get(key))) for key in sorted(odd)),
        amount=known.get("amount") if currency else None,
        currency=currency,
        live=known.get("sandbox"),
    )


def _read_apart(answer: Mapping[str, Any], live: bool | None) -> tuple[dict[str, Any], set[str]]:
    """Read each field that a rule needs apart from the others. Return what can be read, and the names of the rest."""
    known: dict[str, Any] = {}
    odd: set[str] = set()
    readers: dict[str, Callable[[], Any]] = {
        "imp_uid": lambda: _imp_uid(answer),
        "merchant_uid": lambda: _merchant_uid(answer),
        "status": lambda: _status(answer),
        "currency": lambda: _currency(answer),
        "amount": lambda: _amount(answer, "amount", known.get("currency", "")),
        "cancel_amount": lambda: _cancelled_amount(answer, known.get("currency", "")),
        "cancel_history": lambda: _cancellations(answer),
        "sandbox": lambda: _live(answer, live),
        CUSTOMER_UID_USAGE: lambda: _usage(answer),
    }
    for key, read in readers.items():
        try:
            known[key] = read()
        except _Odd:
            odd.add(key)
    return known, odd


def _raw(value: object) -> str:
    """Return a value as a person may see it: as JSON in ASCII, bounded; of a list or an object only the kind."""
    if isinstance(value, list | tuple | dict):
        return "a list" if not isinstance(value, dict) else "an object"
    text = json.dumps(value, default=lambda _: "unknown")
    return text if len(text) <= _RAW_MAX else f"{text[:_RAW_MAX]}…"


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not is_plain(value):
        raise _Odd(key, "is not a text")
    return value


def _imp_uid(answer: Mapping[str, Any]) -> str:
    imp_uid = _text(answer, "imp_uid")
    if not is_imp_uid(imp_uid):
        raise _Odd("imp_uid", "is malformed")
    return imp_uid


def _merchant_uid(answer: Mapping[str, Any]) -> str:
    value = answer.get("merchant_uid")
    merchant_uid = str(value) if type(value) is int and value >= 0 else _text(answer, "merchant_uid")
    # A number that was cut off within a character may be the beginning of several.
    if not is_merchant_uid(merchant_uid) or REPLACEMENT in merchant_uid:
        raise _Odd("merchant_uid", "is malformed")
    return merchant_uid


def _currency(answer: Mapping[str, Any]) -> str:
    currency = _text(answer, "currency").upper()
    if not is_code(currency):
        raise _Odd("currency", "is not a code")  # a missing currency is not a wrong one
    return currency


def _live(answer: Mapping[str, Any], live: bool | None) -> bool:
    sandbox = answer.get("sandbox")
    if isinstance(sandbox, bool):
        return not sandbox
    if live is None:
        raise _Odd("sandbox", "does not say whether this is a test payment")
    return live


def _status(answer: Mapping[str, Any]) -> Status:
    status = _STATUSES.get(_text(answer, "status"))
    if status is None:
        raise _Odd("status", "is unknown")
    return Status.ISSUED if status is Status.READY and answer.get("vbank_num") else status


def _usage(answer: Mapping[str, Any]) -> None:
    """Check that it can be read whether the payment only issued a billing key (docs/portone.md §4.18)."""
    if answer.get(CUSTOMER_UID_USAGE):
        _text(answer, CUSTOMER_UID_USAGE)


def _amount(answer: Mapping[str, Any], key: str, currency: str) -> int:
    value = answer.get(key)
    try:
        if type(value) is int:  # not a bool
            return whole_to_minor(value, currency)
        amount = None if isinstance(value, str) else exact(value)
        if amount is None:
            raise _Odd(key, "is not a number")
        return to_minor(amount, currency)
    except InexactAmount:
        raise _Odd(key, "is not an amount of its currency") from None


def _cancelled_amount(answer: Mapping[str, Any], currency: str) -> int:
    """Return the refunded amount: 0 where it is null, and nothing else speaks of a refund."""
    if answer.get("cancel_amount") is None and answer.get("status") == "paid" and answer.get("cancel_history") == []:
        return 0
    return _amount(answer, "cancel_amount", currency)


def _cancellations(answer: Mapping[str, Any]) -> int:
    history = answer.get("cancel_history")
    if history is None:
        return 0
    if not isinstance(history, list):
        raise _Odd("cancel_history", "is not a list")
    return len(history)


def _seconds(answer: Mapping[str, Any], key: str) -> int:
    """Return a time in Unix seconds; 0 is V1's "not applicable", and an odd one is left out like that."""
    value = answer.get(key)
    return value if type(value) is int and 0 <= value <= _LAST_SECOND else 0


def _time(answer: Mapping[str, Any], key: str) -> datetime | None:
    seconds = _seconds(answer, key)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _details(answer: Mapping[str, Any]) -> Iterator[tuple[str, str | int]]:
    """Yield the details, sorted, so that the same facts are equal. An odd one is left out."""
    for key, is_time in _KEPT:
        if not (value := answer.get(key)):
            continue
        if is_time:
            if seconds := _seconds(answer, key):
                yield key, seconds
        elif isinstance(value, str) and is_plain(value):
            yield key, value[:_KEPT_TEXT_MAX]
