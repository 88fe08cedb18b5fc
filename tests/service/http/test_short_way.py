"""A sender cannot distinguish a webhook's short way from aiohttp's own way."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from service.db.pool import Pool
from tests.running import RunningService, bearer
from tests.service import stored

PATH = "/webhooks/portone/v1"


class Wire:
    """A connection on which a test decides how a request is cut into pieces."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, request: bytes) -> None:
        self._writer.write(request)
        await self._writer.drain()

    async def ask_first(self, body: bytes) -> None:
        """Send the head, and the body once the server asks for it, so that it surely arrives in two pieces."""
        head, _ = _request(body, b"Expect: 100-continue")
        await self.send(head)
        async with asyncio.timeout(10):
            assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await self.send(body)

    async def answer(self) -> tuple[str, dict[str, str], bytes]:
        """Return the status line, the headers except Date and Server, and the body."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:])
            assert headers.pop("Date").endswith(" GMT")
            headers.pop("Server", None)
            return head[0], headers, await self._reader.readexactly(int(headers.get("Content-Length", "0")))

    async def has_ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self._reader.read() == b""

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def wire(receiver: RunningService) -> AsyncIterator[Wire]:
    address = urlsplit(receiver.url)
    wire = Wire(*await asyncio.open_connection(address.hostname, address.port))
    yield wire
    wire.close()


def _request(body: bytes, *lines: bytes, path: str = PATH, version: bytes = b"1.1") -> tuple[bytes, bytes]:
    """Return a request's head and body."""
    head = [b"POST %s HTTP/%s" % (path.encode(), version), b"Host: localhost", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, *lines, b"", b""]), body


def _webhook(imp_uid: str) -> bytes:
    return b'{"imp_uid":"%s","merchant_uid":"order-1","status":"paid"}' % imp_uid.encode()


@pytest.mark.parametrize(
    "body",
    [_webhook("imp_1"), b"imp_uid=imp_1&status=paid", b"{}", b"", b"[", b"x" * 70_000],
    ids=["JSON", "a form", "no imp_uid", "nothing", "malformed", "too large"],
)
async def test_both_ways_answer_alike(wire: Wire, pool: Pool, body: bytes) -> None:
    """A request in one piece (the short way) and in two (aiohttp's way) has the same answer and the same rows."""
    await wire.send(b"".join(_request(body)))
    short, arrivals = await wire.answer(), [row["arrivals"] for row in await stored.notices(pool, "imp_1")]
    assert arrivals == [1] * (short[0] == "HTTP/1.1 200 OK")
    if body:
        await wire.ask_first(body)
        assert await wire.answer() == short
        assert [row["arrivals"] for row in await stored.notices(pool, "imp_1")] == [n + 1 for n in arrivals]


@pytest.mark.parametrize("lines", [(b"Connection: close",), ()], ids=["asked to close", "HTTP/1.0"])
async def test_a_connection_that_does_not_stay(wire: Wire, lines: tuple[bytes, ...]) -> None:
    """A connection that is not kept alive is answered, gets the right header, and is closed."""
    await wire.send(b"".join(_request(_webhook("imp_1"), *lines, version=b"1.1" if lines else b"1.0")))
    status, headers, body = await wire.answer()
    assert (status.split(" ", 1)[1], body) == ("200 OK", b"OK")
    assert headers.get("Connection") == ("close" if lines else None)
    assert await wire.has_ended()


async def test_one_after_the_other_without_waiting(wire: Wire, pool: Pool) -> None:
    """Requests sent at once are answered in order, each separately."""
    requests = [b"".join(_request(_webhook(f"imp_{number}"))) for number in range(5)]
    await wire.send(b"".join([*requests, *_request(b"{}")]))
    statuses = [(await wire.answer())[0].split(" ")[1] for _ in range(6)]
    assert statuses == ["200"] * 5 + ["400"]
    assert await stored.count(pool, "notices") == 5


async def test_only_this_very_address(wire: Wire, pool: Pool) -> None:
    """Only the exact address takes the short way, not one that decodes to it."""
    await wire.send(b"".join(_request(_webhook("imp_1"), path="/webhooks/portone%2Fv1")))
    assert (await wire.answer())[0] == "HTTP/1.1 404 Not Found"
    assert await stored.count(pool, "notices") == 0


async def test_both_ways_are_counted(receiver: RunningService, wire: Wire) -> None:
    """The metrics count the answers of both ways."""
    await wire.send(b"".join(_request(_webhook("imp_1"))))
    await wire.answer()
    await wire.ask_first(_webhook("imp_1"))
    await wire.answer()
    async with receiver.session.get(f"{receiver.url}/metrics", headers=bearer()) as page:
        assert 'requests_total{status="200"} 2.0' in await page.text()
