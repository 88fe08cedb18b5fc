"""Each of 100,000 seeded mutations gives a Payment that Postgres can store, or UnreadableAnswer."""

from decimal import Decimal
from random import Random
from typing import Any

import orjson
import pytest

from service.domain.money import MAX_AMOUNT
from service.domain.payment import Payment, Status, Store
from service.errors import UnreadableAnswer
from service.portone.payment import read_payment, says_channel

STORE = Store("default")

# Every field of docs/portone.md §1 that matters, as in captured answers.
BODY: dict[str, Any] = {
    "imp_uid": "imp_448280090638",
    "merchant_uid": "주문-1",
    "amount": 64900,
    "cancel_amount": 900,
    "currency": "KRW",
    "status": "cancelled",
    "sandbox": False,
    "pay_method": "card",
    "pg_provider": "html5_inicis",
    "pg_tid": "StdpayCARD123",
    "pg_id": "INIpayTest",
    "emb_pg_provider": None,
    "channel": "pc",
    "apply_num": "12345678",
    "card_code": "366",
    "card_name": "신한카드",
    "card_number": "4092-****-****-2345",
    "card_quota": 0,
    "card_type": None,
    "bank_code": None,
    "bank_name": None,
    "vbank_code": None,
    "vbank_name": None,
    "vbank_num": None,
    "vbank_holder": None,
    "vbank_date": 0,
    "vbank_issued_at": 0,
    "started_at": 1790000000,
    "paid_at": 1790000060,
    "failed_at": 0,
    "cancelled_at": 1790000120,
    "fail_reason": None,
    "cancel_reason": "변심",
    "receipt_url": "https://example.test/receipt",
    "cancel_history": [
        {
            "pg_tid": "StdpayCARD124",
            "amount": 900,
            "cancelled_at": 1790000120,
            "reason": "변심",
            "cancellation_id": "cancel-1",
            "receipt_url": None,
        }
    ],
    "name": "책",
    "buyer_name": "홍길동",
    "buyer_email": "buyer@example.test",
    "buyer_tel": "010-0000-0000",
    "buyer_addr": None,
    "custom_data": '{"a": 1}',
    "customer_uid": None,
    "customer_uid_usage": None,
    "escrow": False,
    "cash_receipt_issued": False,
    "user_agent": "sorry_not_supported_anymore",
    "promotion": None,
}  # fmt: skip

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 900, 64900, 64900.5, 6.1, 0.1 + 0.2, -0.0, 1e18, 1e308, 5e-324, float("nan"),
    float("inf"), float("-inf"), MAX_AMOUNT, MAX_AMOUNT + 1, 2**64, -(2**63), 10**400, 253402300799, 253402300800,
    Decimal("6.10"), Decimal("NaN"), Decimal("1E+400"), Decimal("1E-400"),
    "", " ", "0", "64900", "paid", "ready", "failed", "cancelled", "PAID", "in_process", "KRW", "USD", "krw", "XXX",
    "\x00", "a\x00b", "\ud800", "\u202e", "한글", "a" * 256, "a" * 5000, "../x", "imp_1", "abc-123",
    [], [None], [[]], [{}], [1, 2, 3], {}, {"amount": 1}, {"a": {"b": []}}, b"bytes", (1,),
)  # fmt: skip

# No buyer, card, account holder or custom_data (docs/design.md §2.11).
KEPT = {
    "pay_method", "pg_provider", "pg_tid", "channel", "vbank_name", "vbank_num", "fail_reason", "receipt_url",
    "failed_at", "cancelled_at", "vbank_date", "customer_uid_usage",
}  # fmt: skip


def _mutated(random: Random) -> Any:
    """Return the body with one to four mutations, or rarely something that is no body."""
    if random.random() < 0.01:
        return random.choice(STRANGE)
    body = dict(BODY)
    body["status"] = random.choice(("ready", "paid", "failed", "cancelled"))
    if random.random() < 0.2:
        body |= {"vbank_num": "110123456789", "vbank_date": 1790086400}
    for _ in range(random.randint(1, 4)):
        key = random.choice(tuple(body))
        match random.randrange(6):
            case 0:
                del body[key]
            case 1:
                body[key] = body[random.choice(tuple(body))]
            case 2:
                body[random.choice(("new_field", "", "이름", "amount "))] = random.choice(STRANGE)
            case _:
                body[key] = random.choice(STRANGE)
    return body


def _read(body: Any, live: bool | None) -> Payment | None:
    """Read the body. Returns None if it is unreadable. Any other error fails the test."""
    try:
        return read_payment(body, STORE, live=live)
    except UnreadableAnswer:
        return None


def _can_be_stored(payment: Payment) -> bool:
    """Return whether the columns of `payments` and `orders` accept the payment."""
    texts = [payment.imp_uid, payment.merchant_uid, payment.currency, *(str(value) for _, value in payment.details)]
    return (
        0 <= payment.amount <= MAX_AMOUNT
        and 0 <= payment.cancelled_amount <= MAX_AMOUNT
        and 0 <= payment.held <= payment.amount
        and isinstance(payment.live, bool)
        and isinstance(payment.status, Status)
        and all("\x00" not in text and text.encode() is not None for text in texts)
        and all(at is None or at.tzinfo is not None for at in (payment.started_at, payment.paid_at))
        and {key for key, _ in payment.details} <= KEPT
        and payment.progress >= payment.progress
        and orjson.dumps(dict(payment.details)) is not None
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_body_is_a_payment_or_unreadable(seed: int) -> None:
    """A mutated body is a payment or unreadable, whatever PortOne or a proxy sends."""
    random, readable, unreadable = Random(seed), 0, 0
    for _ in range(25_000):
        body = _mutated(random)
        says_channel(body)
        payment = _read(body, random.choice((None, True, False)))
        if payment is None:
            unreadable += 1
            continue
        readable += 1
        assert _can_be_stored(payment), body
    assert readable > 2_500, "too few bodies are readable"
    assert unreadable > 2_500


DECIDE = {"imp_uid", "merchant_uid", "amount", "cancel_amount", "currency", "status", "sandbox"}
# Decides only where it is given: whether the payment is a charge (docs/portone.md §4.18).
USAGE = {"customer_uid_usage"}
TIMES = {"started_at", "paid_at", "failed_at", "cancelled_at", "vbank_date"}


@pytest.mark.parametrize("key", sorted(BODY.keys() - DECIDE - TIMES - USAGE - {"cancel_history"}))
def test_what_decides_nothing_may_be_anything(key: str) -> None:
    """A field that does not decide never makes an answer unreadable, whatever its value."""
    values: tuple[object, ...] = (None, 0, 1, "", "unknown", [], {})
    for value in values:
        assert _read(BODY | {key: value}, live=None) is not None, value
    assert _read({name: value for name, value in BODY.items() if name != key}, live=None) is not None


@pytest.mark.parametrize("key", sorted(TIMES))
def test_an_odd_time_is_left_out(key: str) -> None:
    """A time may be anything, because no rule needs one: what is no time is as zero, V1's "not applicable"."""
    without = _read(BODY | {key: 0}, live=None)
    assert without is not None
    for odd in (None, "unknown", -1, 1.5, True, 253402300800, [1]):
        assert _read(BODY | {key: odd}, live=None) == without, odd


@pytest.mark.parametrize("key", sorted(DECIDE))
def test_what_decides_is_never_guessed(key: str) -> None:
    """An answer with a deciding field that is null, absent, of another type or unknown is unreadable."""
    values: tuple[object, ...] = (None, "", [], {}, b"")
    for value in values:
        assert _read(BODY | {key: value}, live=None) is None, value
    assert _read({name: value for name, value in BODY.items() if name != key}, live=None) is None
    assert _read(BODY | {"status": "in_process"}, live=None) is None


@pytest.mark.parametrize("seed", range(2))
def test_mutated_bytes_are_a_payment_or_unreadable(seed: int) -> None:
    """Damaged bytes that are still JSON are a payment or unreadable."""
    random, whole, parsed = Random(seed), orjson.dumps(BODY), 0
    for _ in range(20_000):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            damaged[random.randrange(len(damaged))] = random.choice(b'0123456789-.eE"{}[],:ntf aZ\x00\xff')
        try:
            body = orjson.loads(damaged)
        except ValueError:
            continue
        parsed += 1
        payment = _read(body, live=None)
        assert payment is None or _can_be_stored(payment)
    assert parsed > 2_000
