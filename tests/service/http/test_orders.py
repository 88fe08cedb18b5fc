"""Orders over HTTP are registered with valid terms and a key, and refused otherwise."""

from typing import Any
from urllib.parse import quote

import orjson
import pytest
from yarl import URL

from service.db.pool import Pool
from tests.running import RunningService, bearer, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.http.refusals import nothing_stored, refused

ORDERS = "/orders"
JSON = {"Content-Type": "application/json"}
ORDER = {"merchant_uid": "order-1", "amount": 64900}
BAD_ORDERS: dict[str, Any] = {
    "no body": b"",
    "malformed JSON": b'{"merchant_uid": "order-1", ',
    "not an object": b"[]",
    "null": b"null",
    "invalid UTF-8": b'{"merchant_uid": "\xff", "amount": 1}',
    "lone surrogate in merchant_uid": b'{"merchant_uid": "\\ud800", "amount": 1}',
    "deeply nested": b'{"metadata": ' * 5000,
    "missing merchant_uid": {"amount": 64900},
    "empty merchant_uid": ORDER | {"merchant_uid": ""},
    "over-long merchant_uid": ORDER | {"merchant_uid": "가" * 256},
    "a number for merchant_uid": ORDER | {"merchant_uid": 1},
    "NUL in merchant_uid": ORDER | {"merchant_uid": "order\0"},
    "control character in merchant_uid": ORDER | {"merchant_uid": "order\x1b"},
    "a newline in merchant_uid": ORDER | {"merchant_uid": "order\n"},
    "a merchant_uid that names a folder": ORDER | {"merchant_uid": "."},
    "a merchant_uid that names the folder above": ORDER | {"merchant_uid": ".."},
    "missing amount": {"merchant_uid": "order-1"},
    "negative amount": ORDER | {"amount": -1},
    "zero amount": ORDER | {"amount": 0},
    "float amount": ORDER | {"amount": 649.5},
    "whole float amount": ORDER | {"amount": 64900.0},
    "amount as text": ORDER | {"amount": "64900"},
    "amount as boolean": ORDER | {"amount": True},
    "huge amount": ORDER | {"amount": 2**63},
    "enormous amount": b'{"merchant_uid": "order-1", "amount": 1%s}' % (b"0" * 400),
    "infinite amount": b'{"merchant_uid": "order-1", "amount": 1e999}',
    "unknown currency": ORDER | {"currency": "XXX"},
    "small letters' currency": ORDER | {"currency": "krw"},
    "empty currency": ORDER | {"currency": ""},
    "NUL in name": ORDER | {"name": "\0"},
    "over-long name": ORDER | {"name": "n" * 201},
    "unknown tier": ORDER | {"tier": "zzz"},
    "NUL in tier": ORDER | {"tier": "a\0b"},
    "expired": ORDER | {"expires_at": "2020-01-01T00:00:00Z"},
    "no time": ORDER | {"expires_at": "tomorrow"},
    "a time without zone": ORDER | {"expires_at": "2027-01-01T00:00:00"},
    "a time out of range": ORDER | {"expires_at": "9999-12-31T23:59:59-23:59"},
    "an enormous time": ORDER | {"expires_at": 2**62},
    "metadata with NUL": ORDER | {"metadata": {"a": "\0"}},
    "metadata with NUL in a key": ORDER | {"metadata": {"\0": 1}},
    "metadata that is large": ORDER | {"metadata": {"a": "x" * 5000}},
    "metadata that is deep": b'{"merchant_uid": "order-1", "amount": 1, "metadata": %s1%s}'
    % (b'{"a":' * 300, b"}" * 300),
    "unknown field": ORDER | {"status": "paid"},
    "unknown field with a strange name": ORDER | {"\0\x1b": "paid"},
}


async def test_a_bad_order(receiver: RunningService, pool: Pool) -> None:
    """An order that is wrong in any field is refused with a sentence that names it, and stores nothing."""
    for name, order in BAD_ORDERS.items():
        body = order if isinstance(order, bytes) else orjson.dumps(order)
        try:
            await refused(receiver, "POST", ORDERS, data=body, headers=JSON | bearer())
        except AssertionError as error:
            raise AssertionError(name) from error
    await nothing_stored(pool)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[]", "Correct these fields: the body: must be a JSON object."),
        (b'{"merchant_uid": "order-1", "amount": 1, "foo": 1}', "Correct these fields: foo: is not known here."),
        (b'{"merchant_uid": "..", "amount": 1}', "Correct these fields: merchant_uid: must not be `.` or `..`"),
        (b'{"metadata": ' * 2_000, "cannot be read as JSON: depth limit exceeded"),
        (b'{"amount": 1e400}', "cannot be read as JSON: number is infinity"),
        (
            b'{"s3cret": s3cret}',
            "cannot be read as JSON: unexpected character, expected a JSON value: line 1 column 12",
        ),
    ],
)
async def test_a_refusal_says_what_is_wrong(receiver: RunningService, body: bytes, sentence: str) -> None:
    """The sentence names the fault in the words of JSON, and repeats nothing of the body's values."""
    _, answer = await receiver.call("POST", ORDERS, data=body, headers=JSON | bearer())
    assert sentence in answer["detail"]
    assert "s3cret" not in answer["detail"]


async def test_a_parameter_that_is_given_twice(receiver: RunningService) -> None:
    """A parameter that means one thing is refused by its name where it is given twice."""
    for path, name in (("/events?after=evt_0&after=evt_0", "after"), ("/orders?limit=1&limit=2", "limit")):
        status, answer = await receiver.call("GET", path, headers=bearer())
        assert (status, answer["detail"]) == (400, f"Correct these parameters: {name}: give it once.")
    _, answer = await receiver.call("GET", "/events?type=order.paid,order.cancelled", headers=bearer())
    assert "repeat the parameter for several" in answer["detail"]


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer test-service-key2", "Basic x"])
async def test_a_missing_or_wrong_key(receiver: RunningService, pool: Pool, key: str | None) -> None:
    """Without a service key a caller can neither register nor read an order, nor learn whether it exists."""
    headers = {} if key is None else {"Authorization": key}
    await refused(receiver, "POST", ORDERS, 401, json=ORDER, headers=headers)
    await nothing_stored(pool)
    await receiver.register("order-1")
    for merchant_uid in ("order-1", "order-2"):
        await refused(receiver, "GET", f"/orders/{merchant_uid}", 401, headers=headers)


ODD = [
    "주문-2026-11-24-001",
    "a/b/../c",
    "한글/슬래시",
    "'quotes' and \"double\"",
    "100%",
    "%2F%00%",
    "what?",
    "#1",
    "a b  c",
    ".hidden",
    "..a",
    "🛒👟",
    "👨‍👩‍👧‍👦",
    "가" * 255,
    "🛒" * 255,
    "{order}",
    "a&b=c+d;e",
    "back\\slash",
    "Robert'); DROP TABLE orders;--",
    " leading and trailing ",
    "\u200b",
    "~`!@$^*()[]|:,<>",
    "findAll",
    "$1",
]


async def test_odd_order_numbers_are_legal(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Order numbers of any 1 to 255 legal characters are registered, paid and read back."""
    for number, merchant_uid in enumerate(ODD):
        await service.register(merchant_uid)
        imp_uid = (await sandbox.pay(merchant_uid, 64900, webhook=bool(number % 2)))["imp_uid"]
        if not number % 2:
            expected = (200, {"merchant_uid": merchant_uid, "state": "paid"})
            assert await service.complete(imp_uid, merchant_uid) == expected
    for merchant_uid in ODD:

        async def paid(merchant_uid: str = merchant_uid) -> bool:
            return bool((await _read(service, merchant_uid))["state"] == "paid")

        await until(paid)
        assert await stored.events(pool, merchant_uid) == [(1, "pending"), (2, "paid")]


async def _read(service: RunningService, merchant_uid: str) -> Any:
    url = URL(f"{service.url}/orders/{quote(merchant_uid, safe='')}", encoded=True)
    async with service.session.get(url, headers=bearer()) as answer:
        body = await answer.json()
        assert (answer.status, body["merchant_uid"]) == (200, merchant_uid)
        return body
