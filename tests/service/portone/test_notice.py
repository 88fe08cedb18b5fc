"""The parser reads the known keys from every shape that V1's senders use (docs/portone.md §2)."""

from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import is_imp_uid, is_merchant_uid, is_plain
from service.errors import UnusableNotice
from service.portone.notice import known_keys, parse_body

IDS = {"imp_uid": "imp_448280090638", "merchant_uid": "ORD-1"}
RECORDED: dict[bytes, dict[str, str]] = {
    b'{"imp_uid":"imp_448280090638","merchant_uid":"ORD-1","status":"paid"}': IDS | {"status": "paid"},
    b'\n {"status":"ready","imp_uid":"imp_448280090638","merchant_uid":"ORD-1"}\r\n': IDS | {"status": "ready"},
    b"imp_uid=imp_448280090638&merchant_uid=ORD-1&status=paid": IDS | {"status": "paid"},
    b"imp_uid=imp_448280090638&merchant_uid=ORD-1&status=cancelled&cancellation_id=c_1": IDS
    | {"status": "cancelled", "cancellation_id": "c_1"},
    b'{"imp_uid":"imp_448280090638","merchant_uid":"ORD-1","status":"cancelled","cancellation_id":"c_1"}': IDS
    | {"status": "cancelled", "cancellation_id": "c_1"},
    # The escrow variant, and undocumented keys.
    b'{"imp_uid":"imp_448280090638","merchant_uid":"ORD-1","status":"paid","event":"escrow","extra":{"a":[1]}}': IDS
    | {"status": "paid"},
    b'{"imp_uid":"imp_448280090638","merchant_uid":"ORD-1","buyer_name":"\xea\xb9\x80","amount":64900}': IDS,
    # A browser's callback, from this SDK and older ones.
    b'{"imp_uid":"imp_448280090638","merchant_uid":"ORD-1","error_code":null,"error_msg":null,"success":true}': IDS,
    b"imp_uid=imp_448280090638&merchant_uid=ORD-1&imp_success=true&error_msg=": IDS,
    # The console's test button.
    b'{"imp_uid":"imp_1234567890","merchant_uid":"merchant_1234567890","status":"paid"}': {
        "imp_uid": "imp_1234567890",
        "merchant_uid": "merchant_1234567890",
        "status": "paid",
    },
    # Korean order numbers, in both encodings.
    '{"imp_uid":"imp_1","merchant_uid":"주문/1"}'.encode(): {"imp_uid": "imp_1", "merchant_uid": "주문/1"},
    b"imp_uid=imp_1&merchant_uid=%EC%A3%BC%EB%AC%B8%2F1+a": {"imp_uid": "imp_1", "merchant_uid": "주문/1 a"},
    # What nobody reads harms nothing: a byte order mark, EUC-KR, half a character, a newline after a form.
    b'\xef\xbb\xbf{"imp_uid":"imp_1","merchant_uid":"a"}': {"imp_uid": "imp_1", "merchant_uid": "a"},
    b'{"imp_uid":"imp_1","merchant_uid":"a","buyer_name":"\xb1\xe8"}': {"imp_uid": "imp_1", "merchant_uid": "a"},
    b'{"imp_uid":"imp_1","merchant_uid":"a","name":"\\ud83d"}': {"imp_uid": "imp_1", "merchant_uid": "a"},
    b"imp_uid=imp_1&merchant_uid=a&buyer_name=%B1%E8\r\n": {"imp_uid": "imp_1", "merchant_uid": "a"},
    b'{"imp_uid":"imp_1","merchant_uid":"\xff"}': {"imp_uid": "imp_1"},
    # Values of an unknown shape are dropped, not refused.
    b'{"imp_uid":"imp_1","merchant_uid":123,"status":["paid"],"cancellation_id":""}': {
        "imp_uid": "imp_1",
        "merchant_uid": "123",
    },
    b'{"imp_uid":"imp_1","merchant_uid":true,"status":"a word that PortOne never says"}': {"imp_uid": "imp_1"},
    b'{"imp_uid":"imp_1","merchant_uid":null,"status":"\\u0000","cancellation_id":null}': {"imp_uid": "imp_1"},
}


@pytest.mark.parametrize(("body", "keys"), RECORDED.items())
def test_recorded_bytes(body: bytes, keys: dict[str, str]) -> None:
    """A recorded body keeps exactly its known keys, within bounds."""
    assert known_keys(parse_body(body)) == keys


@given(st.binary(max_size=300))
def test_any_bytes(body: bytes) -> None:
    """Any bytes give known keys that may be stored, or raise UnusableNotice."""
    _only_usable(body)


json = st.sampled_from([None, True, 0, -1, 1.5, 2**63, [], ["imp_1"], {}, {"a": [1]}])
names = st.sampled_from(["imp_uid", "merchant_uid", "status", "cancellation_id"])
texts = st.text(max_size=70) | st.integers(0, 10**35).map("imp_{}".format)


@given(st.dictionaries(names, json | texts))
def test_any_values(fields: dict[str, Any]) -> None:
    """Any values of the known keys, in both encodings, give storable keys or raise UnusableNotice."""
    _only_usable(orjson.dumps(fields))
    _only_usable(urlencode({name: str(value) for name, value in fields.items()}).encode())


def _only_usable(body: bytes) -> None:
    try:
        keys = known_keys(parse_body(body))
    except UnusableNotice:
        return
    assert set(keys) <= {"imp_uid", "merchant_uid", "status", "cancellation_id"}
    assert is_imp_uid(keys["imp_uid"])
    assert "merchant_uid" not in keys or is_merchant_uid(keys["merchant_uid"])
    assert all(len(value) <= 64 and is_plain(value) for value in keys.values())
