"""Read V1's payment object. Pure: the object in, a Payment or UnreadableAnswer out (docs/portone.md §1)."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from service.domain.ids import is_imp_uid, is_merchant_uid, is_plain
from service.domain.money import InexactAmount, exact, is_code, to_minor, whole_to_minor
from service.domain.payment import Payment, Status, Store
from service.errors import UnreadableAnswer

# Stored beside the facts, for people. Never a buyer, card, account holder or custom_data (docs/design.md §2.11).
_KEPT_TEXTS = frozenset(
    {"pay_method", "pg_provider", "pg_tid", "channel", "vbank_name", "vbank_num", "fail_reason", "receipt_url"}
)
_KEPT_TIMES = frozenset({"failed_at", "cancelled_at", "vbank_date"})
_KEPT = tuple((key, key in _KEPT_TIMES) for key in sorted(_KEPT_TEXTS | _KEPT_TIMES))
_KEPT_TEXT_MAX = 300
# Seconds since 1970 up to the year 9999, as far as Postgres and Python both go.
_LAST_SECOND = 253402300799


def read_payment(answer: object, store: Store, *, live: bool | None = None) -> Payment:
    """Read PortOne's object of a payment that was asked for under this store.

    `live` decides if the answer lacks `sandbox`, as older ones do. Raises UnreadableAnswer.
    """
    if not isinstance(answer, dict):
        raise UnreadableAnswer("the payment is not an object")
    currency = _text(answer, "currency")
    if not is_code(currency):
        raise UnreadableAnswer("currency is not a code")  # a missing currency is not a wrong one
    sandbox = answer.get("sandbox")
    if not isinstance(live if sandbox is None else sandbox, bool):
        raise UnreadableAnswer("sandbox does not say whether this is a test payment")
    imp_uid, merchant_uid = _text(answer, "imp_uid"), _text(answer, "merchant_uid")
    if not is_imp_uid(imp_uid) or not is_merchant_uid(merchant_uid):
        raise UnreadableAnswer("imp_uid or merchant_uid is malformed")
    return Payment(
        imp_uid=imp_uid,
        merchant_uid=merchant_uid,
        store=store,
        status=_status(answer),
        amount=_amount(answer, "amount", currency),
        currency=currency,
        cancelled_amount=_amount(answer, "cancel_amount", currency),
        cancellations=_cancellations(answer),
        live=not sandbox if sandbox is not None else bool(live),
        started_at=_time(answer, "started_at"),
        paid_at=_time(answer, "paid_at"),
        details=tuple(_details(answer)),
    )


def says_channel(answer: object) -> bool:
    """Return whether the answer itself says if this is a test payment."""
    return isinstance(answer, dict) and isinstance(answer.get("sandbox"), bool)


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not is_plain(value):
        raise UnreadableAnswer(f"{key} is not a text")
    return value


def _status(answer: Mapping[str, Any]) -> Status:
    match _text(answer, "status"):
        case "ready":
            return Status.ISSUED if answer.get("vbank_num") else Status.READY
        case "failed":
            return Status.FAILED
        case "paid":
            return Status.PAID
        case "cancelled":
            return Status.CANCELLED
        case _:
            raise UnreadableAnswer("the status is unknown")


def _amount(answer: Mapping[str, Any], key: str, currency: str) -> int:
    value = answer.get(key)
    try:
        if type(value) is int:  # not a bool
            return whole_to_minor(value, currency)
        amount = None if isinstance(value, str) else exact(value)
        if amount is None:
            raise UnreadableAnswer(f"{key} is not a number")
        return to_minor(amount, currency)
    except InexactAmount as error:
        raise UnreadableAnswer(f"{key}: {error}") from None


def _cancellations(answer: Mapping[str, Any]) -> int:
    history = answer.get("cancel_history")
    if history is None:
        return 0
    if not isinstance(history, list):
        raise UnreadableAnswer("cancel_history is not a list")
    return len(history)


def _seconds(answer: Mapping[str, Any], key: str) -> int:
    """Return a time in Unix seconds; 0 is V1's "not applicable"."""
    value = answer.get(key) or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST_SECOND:
        raise UnreadableAnswer(f"{key} is not a time")
    return value


def _time(answer: Mapping[str, Any], key: str) -> datetime | None:
    seconds = _seconds(answer, key)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _details(answer: Mapping[str, Any]) -> Iterator[tuple[str, str | int]]:
    """Yield the details, sorted, so that the same facts are equal."""
    for key, is_time in _KEPT:
        if not (value := answer.get(key)):
            continue
        if is_time:
            yield key, _seconds(answer, key)
        elif isinstance(value, str) and is_plain(value):
            yield key, value[:_KEPT_TEXT_MAX]
