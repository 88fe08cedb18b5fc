"""V1's payment object is read, whichever fields are null, zero, absent or new (docs/portone.md §1)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.payment import blank_fields
from service.domain.payment import Payment, Status, Store
from service.errors import UnreadableAnswer
from service.portone.payment import read_payment

STORE = Store("default", "abc")
PAID: dict[str, Any] = blank_fields() | {
    "imp_uid": "imp_448280090638",
    "merchant_uid": "order-1",
    "amount": 64900,
    "status": "paid",
    "paid_at": 1790000060,
    "started_at": 1790000000,
    "sandbox": False,
    "buyer_name": "김철수",
    "buyer_email": "kim@example.test",
    "card_number": "910020*********1",
    "custom_data": '{"a": 1}',
    "vbank_holder": "홍길동",
}
DECIDING = ("imp_uid", "merchant_uid", "amount", "cancel_amount", "currency", "status", "sandbox")
OTHERS = sorted(set(PAID) - set(DECIDING))


def test_a_paid_payment() -> None:
    """The deciding fields are read, under the store that was asked."""
    payment = read_payment(PAID, STORE)
    assert (payment.imp_uid, payment.merchant_uid, payment.store) == ("imp_448280090638", "order-1", STORE)
    assert (payment.status, payment.amount, payment.currency, payment.live) == (Status.PAID, 64900, "KRW", True)
    assert payment.paid_at == datetime.fromtimestamp(1790000060, UTC)


def test_no_personal_data_is_kept() -> None:
    """The details contain no buyer, card, account holder or custom_data."""
    assert not {"김철수", "kim@example.test", "910020*********1", "홍길동", '{"a": 1}'} & set(
        dict(read_payment(PAID, STORE).details).values()
    )
    assert set(
        dict(
            read_payment(
                dict.fromkeys(PAID, "x")
                | {name: PAID[name] for name in DECIDING}
                | {name: 0 for name in PAID if name.endswith(("_at", "_date"))}
                | {"cancel_history": []},
                STORE,
            ).details
        )
    ) <= {
        "pay_method", "pg_provider", "pg_tid", "channel", "vbank_name", "vbank_num", "fail_reason", "receipt_url",
        "customer_uid_usage",
    }  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_field_may_be_null_or_absent(name: str) -> None:
    """A field that does not decide may be null or missing, and the payment is the same."""
    original = read_payment(PAID, STORE)
    for fields in (PAID | {name: None}, {key: value for key, value in PAID.items() if key != name}):
        payment = read_payment(fields, STORE)
        assert (payment.status, payment.amount, payment.live) == (original.status, original.amount, original.live)


@pytest.mark.parametrize("name", DECIDING)
@pytest.mark.parametrize("value", [None, "", [], {}, "\x00", "-1\n", -1, 0.1, float("nan"), float("inf"), True, 10**30])
def test_a_deciding_field_of_another_shape_is_unreadable(name: str, value: Any) -> None:
    """A payment without a clear amount, state or owner is unreadable."""
    if (name, value) == ("sandbox", True):
        assert not read_payment(PAID | {name: value}, STORE).live
        return
    if (name, value) == ("cancel_amount", None):
        assert read_payment(PAID | {name: value}, STORE).cancelled_amount == 0  # no refund is listed
        name, value = "cancel_history", "none"
    if (name, value) == ("merchant_uid", 10**30):
        assert read_payment(PAID | {name: value}, STORE).merchant_uid == str(10**30)
        return
    with pytest.raises(UnreadableAnswer):
        read_payment(PAID | {name: value}, STORE)


@pytest.mark.parametrize("name", DECIDING)
def test_a_deciding_field_that_is_missing_is_unreadable(name: str) -> None:
    """Of the deciding fields only `sandbox` may be absent, and then the caller must know the channel."""
    fields = {key: value for key, value in PAID.items() if key != name}
    if name == "cancel_amount":
        fields["cancel_history"] = [{}]  # without a refund in it, nothing was given back
    with pytest.raises(UnreadableAnswer):
        read_payment(fields, STORE)
    if name == "sandbox":
        assert read_payment(fields, STORE, live=True).live
        assert not read_payment(fields, STORE, live=False).live


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "ready"}, Status.READY),
        ({"status": "ready", "vbank_num": ""}, Status.READY),
        ({"status": "ready", "vbank_num": "00000000000001"}, Status.ISSUED),
        ({"status": "failed"}, Status.FAILED),
        ({"status": "paid", "vbank_num": "00000000000001"}, Status.PAID),
        ({"status": "cancelled"}, Status.CANCELLED),
    ],
)
def test_what_a_status_means(fields: dict[str, Any], status: Status) -> None:
    """Each status is read, and `ready` with an account number is an issued virtual account."""
    assert read_payment(PAID | fields, STORE).status is status


@pytest.mark.parametrize("status", ["PAID", "Paid", "paid ", "refunded", "pending", "0"])
def test_an_unknown_status_is_unreadable(status: str) -> None:
    """A payment with an unknown status is unreadable."""
    with pytest.raises(UnreadableAnswer):
        read_payment(PAID | {"status": status}, STORE)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        (64900, "KRW", 64900),
        (64900.0, "KRW", 64900),
        (6.0, "USD", 600),
        (6, "USD", 600),
        (6.1, "USD", 610),
        (0.29, "USD", 29),
        (1.1, "KWD", 1100),
        (Decimal("6.10"), "USD", 610),
        (1e3, "JPY", 1000),
        (0, "KRW", 0),
    ],
)
def test_amounts_are_exact(amount: Any, currency: str, minor: int) -> None:
    """V1's decimals become whole smallest units, without float arithmetic."""
    assert read_payment(PAID | {"amount": amount, "currency": currency}, STORE).amount == minor


def test_refunds_are_read_not_added() -> None:
    """The refunded amount is PortOne's `cancel_amount`, and the history only counts the refunds."""
    history = [{"amount": 100, "cancelled_at": 1}, {"amount": 200, "cancelled_at": 2}]
    payment = read_payment(PAID | {"status": "cancelled", "cancel_amount": 300, "cancel_history": history}, STORE)
    assert (payment.cancelled_amount, payment.cancellations, payment.held) == (300, 2, 64600)


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)


@given(
    st.dictionaries(st.sampled_from(sorted(PAID)), json, max_size=4), st.sets(st.sampled_from(sorted(PAID)), max_size=2)
)
def test_any_mutation(changed: dict[str, Any], dropped: set[str]) -> None:
    """A mutated body gives a Payment that can be stored, or raises UnreadableAnswer."""
    fields = {name: value for name, value in (PAID | changed).items() if name not in dropped}
    try:
        payment = read_payment(fields, STORE)
    except UnreadableAnswer:
        return
    assert isinstance(payment, Payment)
    assert 0 <= payment.amount < 2**63
    orjson.dumps(dict(payment.details))


@given(json)
def test_anything_at_all(body: Any) -> None:
    """Any other JSON in the place of a payment raises UnreadableAnswer."""
    with pytest.raises(UnreadableAnswer):
        read_payment(body, STORE)
