"""A receiver that is stopped loses no call that comes meanwhile, and one that is busy keeps its callers waiting."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.http.app import set_up
from service.settings import Settings
from tests.running import running_receiver, until

_WEBHOOK = (
    b"POST /webhooks/portone/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n"
    b'{"imp_uid":"imp_1"}'
)
_CALL = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_LONGER_THAN_ANY_TEST = 600.0
# More than the 128 that aiohttp would let wait.
_WAITING = 200


@pytest.mark.parametrize(("call", "end"), [(_CALL, b'ok"}\n'), (_WEBHOOK, b"\r\n\r\nOK")], ids=["read", "webhook"])
async def test_a_call_on_an_open_connection_is_answered(settings: Settings, call: bytes, end: bytes) -> None:
    """A receiver that is stopped takes no new connection. An open one has its next call answered, and ends."""
    runner = await set_up(settings, shutdown_seconds=1, leave_seconds=_LONGER_THAN_ANY_TEST)
    await runner.listen("127.0.0.1", 0)
    port = runner.addresses[0][1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(call)
    assert b"onnection: close" not in await reader.readuntil(end)
    ending = asyncio.create_task(runner.cleanup())

    async def refuses() -> bool:
        try:
            _, other = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return True
        other.close()
        return False

    await until(refuses)
    writer.write(call)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    writer.close()
    await ending  # it waits for no connection any more


async def test_a_connection_that_waits_to_be_accepted_is_answered(settings: Settings) -> None:
    """A receiver that is stopped answers the calls that came just before, and that it has not seen yet."""
    runner = await set_up(settings, shutdown_seconds=1, leave_seconds=_LONGER_THAN_ANY_TEST)
    await runner.listen("127.0.0.1", 0)
    with _waiting(runner.addresses[0][1], count=5) as wires:
        await runner.cleanup()
        answers = [wire.recv(12) for wire in wires]
    assert answers == [b"HTTP/1.1 200"] * 5


@contextlib.contextmanager
def _waiting(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Send calls on connections that the receiver has not accepted, because nothing here lets the event loop go on."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(count)]
        for wire in wires:
            wire.sendall(_CALL)
        yield wires


async def test_callers_of_a_busy_receiver_wait_for_it(settings: Settings) -> None:
    """While a receiver accepts nothing, the system takes 200 connections for it, and each call is answered later."""
    async with running_receiver(settings) as receiver:
        with _waiting(int(receiver.url.rpartition(":")[2]), min(_WAITING, _system_bound())) as wires:
            answers = await asyncio.gather(*(asyncio.to_thread(wire.recv, 12) for wire in wires))
    assert set(answers) == {b"HTTP/1.1 200"}


def _system_bound() -> int:
    """Return how many connections the system lets wait, or what macOS does where that is not told."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/sys/net/core/somaxconn").read_text("ascii"))
    return 100
