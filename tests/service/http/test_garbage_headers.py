"""Number 16 in PORTONE.md §4: garbage in a header that carries a secret is 401, never 500.

V1 signs nothing. What it has is the service key; whatever a sender puts beside a webhook is no business of ours.
"""

import asyncio
from urllib.parse import urlsplit

import pytest

from service.db.pool import Pool
from tests.running import SERVICE_KEY, RunningService
from tests.service import stored

KEYED = [
    ("GET", "/orders/order-1"),
    ("POST", "/orders"),
    ("PATCH", "/orders/order-1"),
    ("POST", "/orders/order-1/withdraw"),
    ("GET", "/healthz/promise"),
    ("GET", "/metrics"),
]

KEY = SERVICE_KEY.encode()
GARBAGE = {
    "nothing": b"",
    "a scheme alone": b"Bearer",
    "a scheme and a blank": b"Bearer ",
    "another scheme": b"Basic dXNlcjpwYXNz",
    "the key in another scheme": b"Token " + KEY,
    "the key and more": b"Bearer " + KEY + b"x",
    "half the key": b"Bearer " + KEY[:-1],
    "the key in capitals": b"Bearer " + KEY.upper(),
    "two keys": b"Bearer " + KEY + b", Bearer " + KEY,
    "the scheme twice": b"Bearer Bearer " + KEY,
    "Korean": "Bearer 열쇠".encode(),
    "Latin-1": b"Bearer \xe9\xff\xfe",
    "a lone surrogate": b"Bearer \xed\xa0\x80",
    "an overlong NUL": b"Bearer \xc0\x80",
    "a quote that does not end": b'Bearer "',
    "base64 that is none": b"v1,=====!!",
    "JSON": b'{"Bearer": [[[[',
    "a format string": b"Bearer %s%n{0.__class__}",
    "very long": b"Bearer " + b"k" * 7000,
}
# The server's own parser ends these before any handler is asked.
UNREADABLE = {"a NUL": b"Bearer \x00", "a newline": b"Bearer\r\n\x01: x", "a carriage return": b"Bearer \rx"}


async def _status(service: RunningService, method: str, path: str, headers: dict[str, bytes], body: bytes = b"") -> int:
    """What a request of these very bytes is answered with: no client would send them."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close"]
    lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    lines += [name.encode() + b": " + value for name, value in headers.items()]
    writer.write(b"\r\n".join([*lines, b"", body]))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_16_garbage_for_a_key(receiver: RunningService, pool: Pool, garbage: bytes) -> None:
    """Wherever a key is wanted it is 401, whatever else the request holds; nothing is done."""
    for method, path in KEYED:
        body = b'{"merchant_uid": "order-1", "amount": 1}'
        assert await _status(receiver, method, path, {"Authorization": garbage}, body) == 401, (method, path)
    assert await stored.count(pool, "orders") == 0


@pytest.mark.parametrize("garbage", UNREADABLE.values(), ids=UNREADABLE)
async def test_16_what_is_no_header_at_all(receiver: RunningService, garbage: bytes) -> None:
    """A request that is no HTTP is 400."""
    for method, path in KEYED:
        assert await _status(receiver, method, path, {"Authorization": garbage}) == 400


@pytest.mark.parametrize("name", ["Authorization", "webhook-signature", "webhook-id", "webhook-timestamp"])
async def test_16_garbage_beside_a_webhook(receiver: RunningService, pool: Pool, name: str) -> None:
    """V1 webhooks carry no signature: what looks like one is not read, and the notice is taken as any other."""
    for number, garbage in enumerate(GARBAGE.values()):
        body = b'{"imp_uid": "imp_%d", "merchant_uid": "order-1", "status": "paid"}' % number
        assert await _status(receiver, "POST", "/webhooks/portone/v1", {name: garbage}, body) == 200
    assert await stored.count(pool, "notices") == len(GARBAGE)
