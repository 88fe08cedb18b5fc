"""asyncpg's pool, with a few connections at hand that one user leaves to the next.

asyncpg takes 60 µs to lend a connection and take it back: a task, a timer and two turns of the event loop, a tenth of
what registering one order takes.
"""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import asyncpg

from service.db.servers import ServerConnection, Servers
from service.durations import Durations

if TYPE_CHECKING:  # asyncpg's classes take no parameters when they run
    from collections.abc import Generator

    from asyncpg.pool import PoolConnectionProxy

    Lent = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool

# More are rarely in use at once, and asyncpg closes those beyond once they idle.
_AT_HAND = 4


class ConnectionPool(Pool):
    """A pool of connections to the primary. It counts how long its users wait, also for those that had to be made."""

    __slots__ = ("_at_hand", "_queueing", "_servers", "waits")

    def __init__(self, servers: Servers, **options: Any) -> None:
        super().__init__(connect=servers.connect, connection_class=ServerConnection, **options)
        self._servers = servers
        self.waits = Durations()
        self._at_hand: list[Lent] = []
        self._queueing = 0

    def acquire(self, *, timeout: float | None = None) -> Any:
        """Return a loan, to be awaited or entered as asyncpg's is."""
        return _Loan(self, timeout)

    async def lend(self, timeout: float | None) -> "Lent":
        """Return a connection. Raises TimeoutError, and whatever connecting raises."""
        self._servers.look_around()
        while self._at_hand:
            connection = self._at_hand.pop()
            if _is_open(connection):
                self.waits.add(0.0)
                return connection
            await self.release(connection)
        began = time.monotonic()
        self._queueing += 1
        try:
            return await super().acquire(timeout=timeout)
        finally:
            self._queueing -= 1
            self.waits.add(time.monotonic() - began)

    def keeps(self, connection: "Lent") -> bool:
        """Keep a connection at hand that is whole, while nobody waits for one. Else return False."""
        full = self._queueing or len(self._at_hand) >= _AT_HAND
        if full or self.is_closing() or not _is_open(connection) or connection.is_in_transaction():
            return False
        self._at_hand.append(connection)
        return True

    def get_idle_size(self) -> int:
        return super().get_idle_size() + len(self._at_hand)

    async def expire_connections(self) -> None:
        await super().expire_connections()
        await self._release_all()

    async def close(self) -> None:
        await self._servers.close()
        await self._release_all()
        await super().close()

    async def _release_all(self) -> None:
        while self._at_hand:
            await self.release(self._at_hand.pop())


def _is_open(connection: "Lent") -> bool:
    """Return whether the connection can be used. One that we ended ourselves has left its user, and says only that."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False


class _Loan:
    """One use of a connection. Whoever was interrupted gives it back to asyncpg, which knows how to clear it."""

    __slots__ = ("_connection", "_pool", "_timeout")

    def __init__(self, pool: ConnectionPool, timeout: float | None) -> None:
        self._pool, self._timeout = pool, timeout
        self._connection: Lent | None = None

    async def __aenter__(self) -> "Lent":
        self._connection = await self._pool.lend(self._timeout)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is None:
            return
        if getattr(self._connection, "is_left", False):
            self._connection.terminate()
        elif error or not self._pool.keeps(self._connection):
            await self._pool.release(self._connection)

    def __await__(self) -> "Generator[Any, None, Lent]":
        return self._pool.lend(self._timeout).__await__()
