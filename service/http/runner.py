"""The runner, which stops a receiver without losing the calls that come meanwhile."""

from typing import Any

from aiohttp import web

from service.http.connections import Connections
from service.http.listening import Listener


class BoundedRunner(web.AppRunner):
    """A runner that listens with connections of ours, and takes its leave of them before it ends."""

    listener: Listener | None = None
    connections: Connections | None = None
    leave_seconds = 0.0

    @property
    def addresses(self) -> list[Any]:
        """Return the addresses on which it listens."""
        return self.listener.addresses if self.listener else super().addresses

    async def listen(self, host: str, port: int) -> None:
        """Take calls from now on. Raises OSError."""
        if self.listener:
            await self.listener.open(host, port)

    async def cleanup(self) -> None:
        """Stop listening, answer what still comes on open connections, finish what is under way, and end."""
        if self.listener and self.connections:
            self.connections.leaving = True
            await self.listener.close()
            await self.connections.left(self.leave_seconds)
        await super().cleanup()
