"""The short way of a webhook: whoever sends it cannot tell it from aiohttp's own way."""

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

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0.05 if len(pieces) > 1 else 0)  # a segment each, as a slow sender's are

    async def send_when_told(self, piece: bytes) -> None:
        async with asyncio.timeout(10):
            assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await self.send(piece)

    async def answer(self) -> tuple[str, dict[str, str], bytes]:
        """Status line, headers but for those that name the time or the server, body."""
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
    """A request's head and body."""
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
    """In one piece it goes the short way, in two aiohttp's own: the same answer, and as many rows."""
    head, rest = _request(body)
    await wire.send(head + rest)
    short = await wire.answer()
    rows = await stored.count(pool, "notices")
    if body:
        await wire.send(head, rest)
        assert await wire.answer() == short
        assert await stored.count(pool, "notices") in (rows, 2 * rows)
    assert (short[0] == "HTTP/1.1 200 OK") == bool(rows)


@pytest.mark.parametrize("lines", [(b"Connection: close",), ()], ids=["asked to close", "HTTP/1.0"])
async def test_a_connection_that_does_not_stay(wire: Wire, lines: tuple[bytes, ...]) -> None:
    """It is answered, told so where it may think otherwise, and closed."""
    await wire.send(b"".join(_request(_webhook("imp_1"), *lines, version=b"1.1" if lines else b"1.0")))
    status, headers, body = await wire.answer()
    assert (status.split(" ", 1)[1], body) == ("200 OK", b"OK")
    assert headers.get("Connection") == ("close" if lines else None)
    assert await wire.has_ended()


async def test_a_sender_that_asks_first(wire: Wire) -> None:
    """`Expect: 100-continue` is told to go on, and then that its notice is kept."""
    head, body = _request(_webhook("imp_1"), b"Expect: 100-continue")
    await wire.send(head)
    await wire.send_when_told(body)
    assert (await wire.answer())[0] == "HTTP/1.1 200 OK"


async def test_one_after_the_other_without_waiting(wire: Wire, pool: Pool) -> None:
    """Requests that were sent at once are answered in turn, each on its own."""
    said = [b"".join(_request(_webhook(f"imp_{number}"))) for number in range(5)]
    await wire.send(b"".join([*said, *_request(b"{}")]))
    statuses = [(await wire.answer())[0].split(" ")[1] for _ in range(6)]
    assert statuses == ["200"] * 5 + ["400"]
    assert await stored.count(pool, "notices") == 5


async def test_only_this_very_address(wire: Wire, pool: Pool) -> None:
    """What merely decodes to it is another one."""
    await wire.send(b"".join(_request(_webhook("imp_1"), path="/webhooks/portone%2Fv1")))
    assert (await wire.answer())[0] == "HTTP/1.1 404 Not Found"
    assert await stored.count(pool, "notices") == 0


async def test_both_ways_are_counted(receiver: RunningService, wire: Wire) -> None:
    """The page of metrics knows of all."""
    head, body = _request(_webhook("imp_1"))
    await wire.send(head + body)
    await wire.answer()
    await wire.send(head, body)
    await wire.answer()
    async with receiver.session.get(f"{receiver.url}/metrics", headers=bearer()) as page:
        assert 'requests_total{status="200"} 2.0' in await page.text()
