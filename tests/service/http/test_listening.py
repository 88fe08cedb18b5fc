"""New connections are accepted many at a time, and go on being accepted after the process had no room for one."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from service.http.listening import Listener
from tests.running import until

_MANY = 100
_TURNS = 20


class Made(asyncio.Protocol):
    """Counts the connections that were made."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).count += 1
        transport.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    Made.count = 0
    listener = Listener(Made)
    await listener.open("127.0.0.1", 0)
    yield listener
    await listener.close()


@contextlib.contextmanager
def _callers(listener: Listener, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(listener.addresses[0]))
        yield


async def test_many_are_accepted_in_few_turns(listener: Listener) -> None:
    """A crowd of new connections costs a few turns of the event loop, not one for each."""
    with _callers(listener, _MANY):
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        assert Made.count == _MANY


async def test_a_process_without_room_tries_again(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process may open no more files, connections wait, and are accepted once there is room."""
    accept, refusals = socket.socket.accept, iter([OSError(errno.EMFILE, "Too many open files")])

    def accept_later(listening: socket.socket) -> tuple[socket.socket, object]:
        for refusal in refusals:
            raise refusal
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", accept_later)

    async def are_accepted() -> bool:
        return Made.count == 3

    with _callers(listener, 3):
        await until(are_accepted)


async def test_an_address_that_is_taken_is_refused(listener: Listener) -> None:
    """Two cannot listen at one address."""
    other = Listener(Made)
    with pytest.raises(OSError, match="in use"):
        await other.open(*listener.addresses[0][:2])
    await other.close()
