"""Garbage in a header for a secret is answered 401, never 500: number 16 in docs/portone.md §4.

V1 signs nothing, so the only secret is the service key. Headers beside a webhook are ignored.
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
    "the key without a scheme": KEY,
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
# The server's parser refuses these before any handler runs.
UNREADABLE = {"a NUL": b"Bearer \x00", "a newline": b"Bearer\r\n\x01: x", "a carriage return": b"Bearer \rx"}


async def _status(service: RunningService, method: str, path: str, headers: dict[str, bytes], body: bytes = b"") -> int:
    """Send a request with exactly these bytes, which no client would send, and return its status."""
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
    """Garbage instead of a key is answered 401 at every protected address, and nothing is done."""
    for method, path in KEYED:
        body = b'{"merchant_uid": "order-1", "amount": 1}'
        assert await _status(receiver, method, path, {"Authorization": garbage}, body) == 401, (method, path)
    assert await stored.count(pool, "orders") == 0


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer "])
async def test_a_schemes_case_does_not_matter(receiver: RunningService, scheme: str) -> None:
    """`Authorization: bearer …` is as good as any other (RFC 9110 §11.1)."""
    headers = {"Authorization": f"{scheme} {SERVICE_KEY}".encode()}
    assert await _status(receiver, "GET", "/metrics", headers) == 200


@pytest.mark.parametrize("garbage", UNREADABLE.values(), ids=UNREADABLE)
async def test_16_what_is_no_header_at_all(receiver: RunningService, garbage: bytes) -> None:
    """A header that is not valid HTTP is answered 400."""
    for method, path in KEYED:
        assert await _status(receiver, method, path, {"Authorization": garbage}) == 400


@pytest.mark.parametrize("name", ["Authorization", "webhook-signature", "webhook-id", "webhook-timestamp"])
async def test_16_garbage_beside_a_webhook(receiver: RunningService, pool: Pool, name: str) -> None:
    """A header like a signature beside a webhook is ignored, because V1 webhooks have none."""
    for number, garbage in enumerate(GARBAGE.values()):
        body = b'{"imp_uid": "imp_%d", "merchant_uid": "order-1", "status": "paid"}' % number
        assert await _status(receiver, "POST", "/webhooks/portone/v1", {name: garbage}, body) == 200
    assert await stored.count(pool, "notices") == len(GARBAGE)
