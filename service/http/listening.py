"""Listening for connections, many of which may come at once."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger()

# Connections that wait to be accepted. With aiohttp's 128 a receiver that took over the calls of one that was restarted
# had no room for them while it was busy for a tenth of a second, and nginx refused calls, at 2,000 webhooks a second.
# Linux allows 4,096.
_BACKLOG = 1024
# uvloop accepts one in a turn of its loop (docs/decisions/0034-accept-many-connections-in-a-turn.md).
_ACCEPTED_AT_ONCE = 32
# When it tries again where no connection can be accepted, as where the process may open no more files.
_PAUSE_SECONDS = 1.0


class Listener:
    """Listens, and gives each new connection to the protocol that `make_connection` makes."""

    def __init__(self, make_connection: Callable[[], asyncio.Protocol]) -> None:
        self._make_connection = make_connection
        self._sockets: list[socket.socket] = []
        self._opening: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def addresses(self) -> list[tuple[Any, ...]]:
        """Return the address of each socket."""
        return [listening.getsockname() for listening in self._sockets]

    async def open(self, host: str, port: int) -> None:
        """Take connections from now on, at each address of the host. Raises OSError."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, *_, address in found):
            listening = socket.create_server(address, family=family, backlog=_BACKLOG)
            self._sockets.append(listening)
            listening.setblocking(False)
            self._resume(listening)

    async def close(self) -> None:
        """Accept what waits, and close. The system would reset a connection that waits, with the call in it."""
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            with contextlib.suppress(OSError):  # none waits any more
                for _ in range(_BACKLOG):
                    self._take(listening.accept()[0])
            listening.close()
        self._sockets.clear()
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            for _ in range(_ACCEPTED_AT_ONCE):
                self._take(listening.accept()[0])
        except (BlockingIOError, ConnectionError):  # none waits any more, or one has gone
            pass
        except OSError as error:
            log.warning("connections.not_accepted", reason=error.strerror)
            self._loop.remove_reader(listening)
            self._loop.call_later(_PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        opening = self._loop.create_task(self._loop.connect_accepted_socket(self._make_connection, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
