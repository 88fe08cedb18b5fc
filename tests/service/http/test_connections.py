"""Connections are bounded, and whoever says nothing keeps nobody out; what cannot be understood reaches no log."""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import orjson
import pytest

from faults.hostile.mutants import MARK, send_mutants
from service.db.pool import Pool
from service.http import app, connections, faults
from service.http.connections import Bounds
from service.settings import Settings
from tests.ports import own_port
from tests.running import SERVICE_KEY, RunningService, bearer, running_receiver, until
from tests.service import stored
from tests.service.conftest import Logged

WEBHOOK = "/webhooks/portone/v1"
SHOP = "https://shop.example.test/done"
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Bounded:
    """The bounds that a test's receiver has."""

    def __init__(self, bounds: Bounds) -> None:
        self.of_process = lambda: bounds


@contextlib.asynccontextmanager
async def _receiver(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, bounds: Bounds
) -> AsyncIterator[RunningService]:
    monkeypatch.setattr(app, "Bounds", Bounded(bounds))
    async with running_receiver(settings) as running:
        yield running


@contextlib.asynccontextmanager
async def _opened(receiver: RunningService, count: int, first: bytes = b"") -> AsyncIterator[list[Wire]]:
    """Open connections that send their first bytes and no more."""
    parts = urlsplit(receiver.url)
    wires = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(count)]
    for _, writer in wires:
        writer.write(first)
        await writer.drain()
    yield wires
    for _, writer in wires:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _is_closed(wire: Wire) -> bool:
    """Wait for a moment, and say whether the other side closed."""
    try:
        async with asyncio.timeout(0.2):
            return not await wire[0].read(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def _send_webhook(receiver: RunningService, imp_uid: str = "imp_1") -> int:
    """Send a webhook on a connection of its own."""
    return (await receiver.call("POST", WEBHOOK, json={"imp_uid": imp_uid}, headers={"Connection": "close"}))[0]


async def test_silent_connections_keep_no_webhook_out(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, logged: Callable[[ModuleType], Logged]
) -> None:
    """When all connections are taken, those that say nothing make place; the log and the metrics count them."""
    log = logged(connections)
    async with _receiver(monkeypatch, settings, Bounds(50, 99)) as receiver, _opened(receiver, 50) as silent:
        assert [await _send_webhook(receiver, f"imp_{number}") for number in range(20)] == [200] * 20
        assert await _is_closed(silent[0])

        async def is_logged() -> bool:
            return any(fields["count"] for fields in log.of("connections.closed"))

        await until(is_logged)
        _, page = await receiver.call("GET", "/metrics", headers=bearer())
        assert 'connection_events_total{event="connections.closed"' in page


async def test_one_client_holds_its_share_and_no_more(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, logged: Callable[[ModuleType], Logged]
) -> None:
    """Connections beyond a client's bound are closed at once, and its others stay."""
    log = logged(connections)
    async with _receiver(monkeypatch, settings, Bounds(50, 5)) as receiver, _opened(receiver, 8) as wires:
        assert [await _is_closed(wire) for wire in wires] == [False] * 5 + [True] * 3

        async def is_logged() -> bool:
            return [(fields["kind"], fields["count"]) for fields in log.of("connections.refused")] == [
                ("too many of one client", 3)
            ]

        await until(is_logged)


async def test_connections_behind_our_own_proxy_are_many_clients(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The bound of one client is not the proxy's."""
    behind = settings.model_copy(update={"trusted_proxies": ("127.0.0.0/8",)})
    async with _receiver(monkeypatch, behind, Bounds(50, 5)) as receiver, _opened(receiver, 8) as wires:
        assert not any([await _is_closed(wire) for wire in wires])


async def test_requests_under_way_are_not_closed_to_make_place(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, logged: Callable[[ModuleType], Logged]
) -> None:
    """A request that is under way keeps its connection: the newcomer is refused, logged and counted."""
    log, half = logged(connections), b"POST /payment/complete HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
    async with _receiver(monkeypatch, settings, Bounds(4, 9)) as receiver, _opened(receiver, 4, half) as wires:
        async with _opened(receiver, 1) as [late]:
            assert await _is_closed(late)
            assert not any([await _is_closed(wire) for wire in wires])

        async def is_logged() -> bool:
            return [fields["kind"] for fields in log.of("connections.refused")] == ["too many in all"]

        await until(is_logged)


@pytest.mark.parametrize("first", [b"", b"POST ", b"POST /x HTTP/1.1\r\nHost: x\r\nX: "], ids=["no", "half", "slow"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, first: bytes
) -> None:
    """A connection whose head is not whole in time is closed; one that sent a request may stay."""
    bounds = Bounds(50, 50, head_seconds=1.0)
    async with _receiver(monkeypatch, settings, bounds) as receiver:
        async with receiver.session.get(f"{receiver.url}/healthz") as answer:
            assert answer.status == 200
        async with _opened(receiver, 1, first) as [(reader, _)], asyncio.timeout(10):
            assert await reader.read() == b""
        assert (await receiver.call("GET", "/healthz"))[0] == 200


async def test_a_second_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The time counts from its first byte, on a connection that has been used before too."""
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    bounds = Bounds(50, 50, head_seconds=1.0)
    async with _receiver(monkeypatch, settings, bounds) as receiver, _opened(receiver, 1, whole) as [(reader, writer)]:
        assert (await reader.readuntil(b'ok"}\n')).startswith(b"HTTP/1.1 200")
        assert not await _is_closed((reader, writer))
        writer.write(b"GET /heal")
        async with asyncio.timeout(10):
            assert await reader.read() == b""


async def _answer(receiver: RunningService, request: bytes) -> bytes:
    """Return all that comes back for these very bytes."""
    async with _opened(receiver, 1, request) as [(reader, _)], asyncio.timeout(10):
        return await reader.read()


CLOSE = b"Host: x\r\nConnection: close\r\n"
RETURNS = {
    "a huge query": b"GET /payment-redirect?imp_uid=%b HTTP/1.1\r\n%b\r\n" % (b"x" * 100_000, CLOSE),
    "huge cookies": b"GET /payment-redirect HTTP/1.1\r\n%bCookie: %b\r\n\r\n" % (CLOSE, b"c" * 100_000),
    "many cookies": b"GET /payment-redirect HTTP/1.1\r\n%bCookie: %b\r\n\r\n" % (CLOSE, b"c" * 30_000),
    "a malformed header": b"GET /payment-redirect?merchant_uid=a HTTP/1.1\r\n%b: x\r\n\r\n" % CLOSE,
    "raw bytes": b"GET /payment-redirect?merchant_uid=\xff\x80 HTTP/1.1\r\n%b\r\n" % CLOSE,
    "a trailing slash": b"GET /payment-redirect/?merchant_uid=a HTTP/1.1\r\n%b\r\n" % CLOSE,
}  # fmt: skip


@pytest.mark.parametrize("request_bytes", RETURNS.values(), ids=RETURNS)
async def test_a_return_that_is_no_http_ends_at_the_return_url(settings: Settings, request_bytes: bytes) -> None:
    """The buyer is sent on even where the request could not be parsed."""
    async with running_receiver(settings.model_copy(update={"return_url": SHOP})) as receiver:
        head = (await _answer(receiver, request_bytes)).decode()
        assert head.split(" ")[1] == "303", head
        assert f"\r\nLocation: {SHOP}?merchant_uid=" in head
        assert "state=pending" in head


@pytest.mark.parametrize("expectation", [b"x", b"\xed\xa0\x80", b"\xff", b"100-continue, x", "확인".encode()])
async def test_an_unknown_expectation_is_417(
    receiver: RunningService, logged: Callable[[ModuleType], Logged], expectation: bytes
) -> None:
    """A non-ASCII Expect is refused like any other, and is no fault of ours."""
    log = logged(faults)
    request = b"POST /payment/complete HTTP/1.1\r\n%bExpect: %b\r\nContent-Length: 2\r\n\r\n{}" % (CLOSE, expectation)
    assert (await _answer(receiver, request)).split(b" ")[1] == b"417"
    assert log.lines == []


@pytest.mark.parametrize("path", [WEBHOOK, "/payment/complete", "/payments/confirm", "/orders"])
@pytest.mark.parametrize("encoding", ["length", "chunks"])
async def test_a_client_that_hangs_up_in_its_body_is_no_fault_of_ours(
    receiver: RunningService, pool: Pool, logged: Callable[[ModuleType], Logged], path: str, encoding: str
) -> None:
    """A sender that goes away reads no answer, and no error is logged for it."""
    log, parts = logged(faults), urlsplit(receiver.url)
    size = b"Content-Length: 100\r\n\r\n" if encoding == "length" else b"Transfer-Encoding: chunked\r\n\r\n40\r\n"
    key = f"Authorization: Bearer {SERVICE_KEY}\r\nContent-Type: application/json\r\n".encode()
    for abort in (True, False):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b{" % (path.encode(), key, size))
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort() if abort else writer.close()
    await asyncio.sleep(0.3)
    assert (await receiver.call("GET", "/healthz"))[0] == 200
    assert log.lines == []
    assert await stored.count(pool, "notices") == 0


async def _serve(settings: Settings, port: int, log: Path) -> asyncio.subprocess.Process:
    """Start `portone-orders serve` as production does, with all that it writes in one file."""
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "PORT": str(port),
        "RETURN_URL": SHOP,
        "SERVICE_KEYS": SERVICE_KEY,
    }
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "serve"),
            env=environment, cwd=Path(__file__).parents[3], stdout=output, stderr=output,
        )  # fmt: skip


async def test_nothing_of_mutated_requests_reaches_a_log(settings: Settings, tmp_path: Path) -> None:
    """3,000 mutated requests over raw sockets: no 5xx, and no byte of theirs in any line of the process."""
    port, log = own_port(), tmp_path / "receiver.log"
    process = await _serve(settings, port, log)
    try:

        async def listens() -> bool:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return True
            return False

        await until(listens)
        statuses = await send_mutants(port, 3_000, seed=11)
        await asyncio.sleep(1.5)  # the counts of the last second are written
    finally:
        process.terminate()
        assert await process.wait() == 0
    written = log.read_bytes()
    assert not [status for status in statuses if status.startswith(b"5")], statuses
    assert {b"200", b"303", b"400"} <= statuses.keys()
    assert MARK not in written
    lines = [orjson.loads(line) for line in written.splitlines()]
    assert {line["event"] for line in lines} >= {"request.handled", "requests.not_understood"}
    assert not [line for line in lines if line["event"] in ("request.failed", "connection.failed")]


def test_the_limit_of_open_files_is_raised() -> None:
    """The receiver raises the soft limit of 256 to what the system allows."""
    script = (
        "import resource; from cli.serve import raise_open_files_limit;"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard));"
        "raise_open_files_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256 or hard <= 256)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "True\n"


def test_the_bounds_stay_below_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reserve is left for Postgres, Redis and the log, and one client has a quarter."""
    limits = {1_024: Bounds(896, 256), 4_096: Bounds(3_968, 992), 1_048_576: Bounds(10_000, 2_500), 64: Bounds(1, 1)}
    for soft, bounds in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert Bounds.of_process() == bounds
