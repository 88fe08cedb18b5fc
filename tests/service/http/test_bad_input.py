"""Bad input is answered 4xx with a problem document, stores nothing, and harms no other request."""

import asyncio
import gzip
from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson
import pytest
from yarl import URL

from service.db.pool import Pool
from service.http import connections
from service.settings import Settings
from tests.running import RunningService, bearer, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.conftest import Logged
from tests.service.http.refusals import is_problem, nothing_stored, refused

WEBHOOK, COMPLETION, REDIRECT, ORDERS = "/webhooks/portone/v1", "/payment/complete", "/payment-redirect", "/orders"
JSON, FORM = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}

BAD_NOTICES: dict[str, tuple[dict[str, str], bytes]] = {
    "nothing": (JSON, b""),
    "malformed JSON": (JSON, b'{"imp_uid": "imp_1"'),
    "malformed JSON that starts well": (JSON, b'{"imp_uid": "imp_1"} x'),
    "malformed form": (FORM, b"\xff\xfe=%zz"),
    "a form that is JSON's array": (FORM, b"[1, 2]"),
    "not an object": (JSON, b'["imp_1"]'),
    "a number": (JSON, b"1"),
    "null": (JSON, b"null"),
    "deeply nested": (JSON, b"[" * 2000),
    "deeply nested below a key": (JSON, b'{"imp_uid":' * 2000),
    "too many form fields": (FORM, b"&".join(b"k%d=1" % n for n in range(2000))),
    "missing imp_uid": (JSON, b'{"merchant_uid": "order-1", "status": "paid"}'),
    "missing imp_uid in a form": (FORM, b"merchant_uid=order-1"),
    "null imp_uid": (JSON, b'{"imp_uid": null}'),
    "a number for imp_uid": (JSON, b'{"imp_uid": 1}'),
    "a list for imp_uid": (JSON, b'{"imp_uid": ["imp_1"]}'),
    "empty imp_uid": (JSON, b'{"imp_uid": ""}'),
    "over-long imp_uid": (JSON, b'{"imp_uid": "%s"}' % (b"i" * 65)),
    "NUL in imp_uid": (JSON, b'{"imp_uid": "imp_\\u0000"}'),
    "NUL in a form's imp_uid": (FORM, b"imp_uid=imp_%00"),
    "a newline after imp_uid": (JSON, b'{"imp_uid": "imp_1\\n"}'),
    "control character in imp_uid": (FORM, b"imp_uid=imp_%1b"),
    "lone surrogate in imp_uid": (JSON, b'{"imp_uid": "imp_\\ud800"}'),
    "invalid UTF-8 in imp_uid": (JSON, b'{"imp_uid": "imp_\xff"}'),
    "a path for imp_uid": (JSON, b'{"imp_uid": "../users/getToken"}'),
    "gzip that is none": (JSON | {"Content-Encoding": "gzip"}, b'{"imp_uid": "imp_1"}'),
}

ORDER = {"merchant_uid": "order-1", "amount": 64900}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "return_url": "https://shop.example.test/done",
            "cors_origins": ("https://shop.example.test",),
        }
    )


@pytest.mark.parametrize("path", [WEBHOOK, COMPLETION])
async def test_a_bad_notice(receiver: RunningService, pool: Pool, path: str) -> None:
    """A webhook or a completion without a usable imp_uid is refused with one sentence, and stores nothing."""
    for name, (headers, body) in BAD_NOTICES.items():
        try:
            await refused(receiver, "POST", path, data=body, headers=headers)
        except AssertionError as error:
            raise AssertionError(f"{path}, {name}") from error
    await nothing_stored(pool)


@pytest.mark.parametrize("merchant_uid", ["", "m" * 256, "\x1b", True, 1.5, ["order-1"], None])
async def test_a_completions_bad_order_number(receiver: RunningService, pool: Pool, merchant_uid: Any) -> None:
    """A completion call with an impossible merchant_uid is refused, and one without any is accepted."""
    body = {"imp_uid": "imp_1", "merchant_uid": merchant_uid}
    status, answer = await receiver.call("POST", COMPLETION, json=body, headers={"Prefer": "wait=0"})
    if merchant_uid in ("", None):
        assert status == 202, answer
    else:
        is_problem(status, answer, 400)
        await nothing_stored(pool)


async def test_a_webhooks_bad_order_number(receiver: RunningService, pool: Pool) -> None:
    """A webhook with a usable imp_uid is recorded whatever else it says, because PortOne never repeats a 4xx."""
    strange = {"merchant_uid": "m" * 256, "status": ["paid"], "cancellation_id": "\0", "amount": 1, "buyer_name": "김"}
    assert (await receiver.call("POST", WEBHOOK, json={"imp_uid": "imp_1"} | strange))[0] == 200
    [row] = await stored.notices(pool, "imp_1")
    assert (row["merchant_uid"], row["claimed_status"], row["cancellation_id"]) == (None, None, None)


UNDERSTOOD = {
    "a byte order mark": b'\xef\xbb\xbf{"imp_uid": "imp_1", "merchant_uid": "order-1"}',
    "a byte order mark before a form": b"\xef\xbb\xbfimp_uid=imp_1&merchant_uid=order-1",
    "no UTF-8 in an unknown key": b'{"imp_uid": "imp_1", "merchant_uid": "order-1", "buyer_name": "\xb1\xe8"}',
    "no UTF-8 in a form's unknown key": b"imp_uid=imp_1&buyer_name=%B1%E8\xb1\xe8&merchant_uid=order-1",
    "half a character in an unknown key": b'{"imp_uid": "imp_1", "merchant_uid": "order-1", "name": "\\ud83d"}',
    "a newline after a form": b"imp_uid=imp_1&merchant_uid=order-1\r\n",
    "blanks around a form": b" \n imp_uid=imp_1&merchant_uid=order-1 ",
}


@pytest.mark.parametrize("body", UNDERSTOOD.values(), ids=UNDERSTOOD)
@pytest.mark.parametrize("path", [WEBHOOK, f"{WEBHOOK}/", COMPLETION, f"{COMPLETION}/"])
async def test_what_can_be_understood_is(receiver: RunningService, pool: Pool, path: str, body: bytes) -> None:
    """A notice is refused for nothing that nobody reads, nor for a slash at the end of the address."""
    status, answer = await receiver.call("POST", path, data=body, headers=JSON | {"Prefer": "wait=0"})
    assert status in (200, 202), answer
    [row] = await stored.notices(pool, "imp_1")
    assert row["merchant_uid"] == "order-1"


@pytest.mark.parametrize("merchant_uid", [b"\xff", b"\\udfff", b"order-\xb1\xe8"])
async def test_an_order_number_that_is_no_text(receiver: RunningService, pool: Pool, merchant_uid: bytes) -> None:
    """A webhook is kept without it, and a completion, whose sender waits for an answer, is refused."""
    body = b'{"imp_uid": "imp_1", "merchant_uid": "%b"}' % merchant_uid
    await refused(receiver, "POST", COMPLETION, data=body, headers=JSON)
    await nothing_stored(pool)
    assert (await receiver.call("POST", WEBHOOK, data=body, headers=JSON))[0] == 200
    [row] = await stored.notices(pool, "imp_1")
    assert row["merchant_uid"] is None


async def test_a_webhook_that_is_not_understood_is_logged_by_its_kind(
    receiver: RunningService, logged: Callable[[ModuleType], Logged]
) -> None:
    """An operator sees that webhooks are refused and why, and nothing of what they held."""
    log = logged(connections)
    for body in (b"{", b"{", b"[]", b'{"imp_uid": ""}'):
        assert (await receiver.call("POST", WEBHOOK, data=body, headers=JSON))[0] == 400

    async def is_logged() -> bool:
        return bool(sum(fields["count"] for fields in log.of("webhooks.not_understood")) == 4)

    await until(is_logged)
    assert all("names no usable payment" in fields["kind"] for fields in log.of("webhooks.not_understood"))


async def test_no_answer_tells_of_versions(receiver: RunningService) -> None:
    """The header Server names the service, and neither a library nor a version, whatever was asked."""
    url, servers = URL(receiver.url), []
    for request in (b"GET /readyz", b"GET /nothing", b"POST " + WEBHOOK.encode(), b"GET /events/stream", b"\x00"):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(request + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        servers.append([line for line in head.splitlines() if line.lower().startswith("server:")])
        writer.close()
        await writer.wait_closed()
    assert servers == [["Server: portone-orders"]] * 5


@pytest.mark.parametrize("path", [WEBHOOK, COMPLETION, ORDERS])
async def test_a_body_over_the_limit(receiver: RunningService, pool: Pool, path: str) -> None:
    """A body above 64 KiB is refused, with or without a declared length, and one below is read."""

    async def undeclared() -> Any:
        for _ in range(70):
            yield b"x" * 1024

    headers = JSON | bearer()
    large = orjson.dumps({"imp_uid": "imp_1", "x": "x" * 65_536})
    await refused(receiver, "POST", path, 413, data=large, headers=headers)
    await refused(receiver, "POST", path, 413, data=undeclared(), headers=headers)
    await nothing_stored(pool)
    fits = orjson.dumps({"imp_uid": "imp_1", "x": "x" * 65_000})
    status, _ = await receiver.call("POST", path, data=fits, headers=headers | {"Prefer": "wait=0"})
    assert status == {WEBHOOK: 200, COMPLETION: 202, ORDERS: 400}[path]


@pytest.mark.parametrize("path", [WEBHOOK, COMPLETION, ORDERS])
async def test_a_compressed_body(receiver: RunningService, pool: Pool, path: str) -> None:
    """A compressed body is limited by its unpacked size, and one within the limit is read."""
    headers = JSON | bearer() | {"Content-Encoding": "gzip", "Prefer": "wait=0"}
    await refused(receiver, "POST", path, 413, data=gzip.compress(b" " * 2**24), headers=headers)
    await refused(receiver, "POST", path, 413, data=gzip.compress(b" " * (2**16 + 1)), headers=headers)
    await nothing_stored(pool)
    fits = gzip.compress(orjson.dumps({"imp_uid": "imp_1"}))
    status, _ = await receiver.call("POST", path, data=fits, headers=headers)
    assert status == {WEBHOOK: 200, COMPLETION: 202, ORDERS: 400}[path]


async def test_a_body_that_is_never_finished(receiver: RunningService, pool: Pool) -> None:
    """A body that is not complete after 5 s is answered 408, and a client that leaves earlier does no harm."""
    head = (
        f"POST {WEBHOOK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    url = URL(receiver.url)
    (reader, writer), (_, leaver) = [await asyncio.open_connection(url.host, url.port) for _ in range(2)]
    for stream in (writer, leaver):
        stream.write(head.encode() + b'{"imp_uid": "imp_1"')
        await stream.drain()
    leaver.transport.abort()
    async with asyncio.timeout(8):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(headers.partition(b"content-length: ")[2].split()[0])
        is_problem(408, orjson.loads(await reader.readexactly(length)), 408)
    writer.close()
    await writer.wait_closed()
    await nothing_stored(pool)


async def test_a_wrong_content_type(receiver: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """An order that is not declared as JSON is refused, but a notice is read by its content, whatever its label."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": content_type}
        await refused(receiver, "POST", ORDERS, 415, data=orjson.dumps(ORDER), headers=headers | bearer())
    await nothing_stored(pool)
    for number, content_type in enumerate(("text/plain", "application/json", "application/xml", "")):
        body = f"imp_uid=imp_{number}&status=paid"
        headers = {"Content-Type": content_type}
        assert (await receiver.call("POST", WEBHOOK, data=body.encode(), headers=headers))[0] == 200
    assert await stored.count(pool, "notices") == 4


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", WEBHOOK, 405),
        ("PUT", COMPLETION, 405),
        ("POST", REDIRECT, 405),
        ("DELETE", ORDERS, 405),
        ("GET", "/nothing-here", 404),
        ("POST", f"{WEBHOOK}/%00", 404),
    ],
)
async def test_a_wrong_method_or_address(
    receiver: RunningService, pool: Pool, method: str, path: str, status: int
) -> None:
    """A wrong method or address is answered with a problem document, and nothing is stored."""
    await refused(receiver, method, path, status, data=b'{"imp_uid": "imp_1"}')
    await nothing_stored(pool)


async def test_no_neighbour_is_harmed(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Good webhooks that arrive together with bad and invented ones are all settled."""
    paid = []
    for number in range(5):
        await service.register(f"order-{number}")
        paid.append((await sandbox.pay(f"order-{number}", 64900, webhook=False))["imp_uid"])
    bad = [service.call("POST", WEBHOOK, data=body, headers=headers) for headers, body in BAD_NOTICES.values()]
    invented = [service.call("POST", WEBHOOK, json={"imp_uid": f"imp_invented{number}"}) for number in range(5)]
    good = [service.call("POST", WEBHOOK, json={"imp_uid": imp_uid, "status": "paid"}) for imp_uid in paid]
    answers = await asyncio.gather(
        *(call for calls in zip(bad, invented + good, strict=False) for call in calls), *bad[10:]
    )
    assert sorted({status for status, _ in answers}) == [200, 400]
    for number in range(5):
        await service.becomes(f"order-{number}", state="paid")
    assert await stored.count(pool, "payments") == 5
