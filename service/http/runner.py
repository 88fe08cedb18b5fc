"""The runner, which listens for the receiver, and stops without losing the calls that come meanwhile."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from aiohttp import web

from service.http.connection import HttpConnection
from service.http.connections import Connections

# Connections that wait to be accepted. With aiohttp's 128 a receiver that took over the calls of one that was restarted
# had no room for them while it was busy for a tenth of a second, and nginx refused calls, at 2,000 webhooks a second.
# Linux allows 4,096.
_BACKLOG = 1024


class BoundedRunner(web.AppRunner):
    """A runner whose server makes connections of ours, and which takes its leave of them before it ends."""

    make_connection: Callable[[], HttpConnection] | None = None
    connections: Connections | None = None
    leave_seconds = 0.0
    _listening: asyncio.Server | None = None

    @property
    def server(self) -> web.Server | None:
        """Return what `web.TCPSite` listens with: all that it does is to call it."""
        return cast("web.Server", self.make_connection) if self.make_connection else super().server

    async def listen(self, host: str, port: int) -> None:
        """Take calls from now on. Raises OSError."""
        site = web.TCPSite(self, host, port, backlog=_BACKLOG)
        await site.start()
        self._listening = cast("asyncio.Server", site._server)

    async def cleanup(self) -> None:
        """Stop listening, answer what still comes on open connections, finish what is under way, and end."""
        if self._listening and self.make_connection and self.connections:
            self.connections.leaving = True
            await _stop_listening(self._listening, self.make_connection)
            await self.connections.left(self.leave_seconds)
        await super().cleanup()


async def _stop_listening(server: asyncio.Server, make_connection: Callable[[], HttpConnection]) -> None:
    """Accept what waits, and close. The system would reset a connection that waits, with the call that it brings."""
    accepted = []
    for listening in server.sockets:
        with contextlib.suppress(OSError), _twin(listening) as twin:
            for _ in range(_BACKLOG):  # more do not wait; the call fails when none does
                accepted.append(twin.accept()[0])
    server.close()
    for connection in accepted:
        connection.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(make_connection, connection)
    await asyncio.sleep(0)  # uvloop may have accepted one, and makes it in its next turn


def _twin(listening: socket.socket) -> socket.socket:
    """Return a socket of the same queue: asyncio's own cannot be asked to accept."""
    twin = socket.fromfd(listening.fileno(), listening.family, listening.type)
    twin.setblocking(False)
    return twin
