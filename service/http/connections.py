"""The receiver's connections: bounded by client and in all, and closed where no request comes.

Whoever opens connections and says nothing must not keep PortOne out. The bounds stay below the descriptors that the
process may have, less a reserve for Postgres, Redis and the log. A connection that is refused is closed at once; when
all are taken, idle ones make place, those of the client that has most first.
"""

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import structlog

from service.http.client_address import ClientAddresses, as_client
from service.http.connection import HttpConnection
from service.metrics import Metrics

log = structlog.get_logger()

# Memory is bounded too: a connection takes about 20 KB.
_IN_ALL_MAX = 10_000
_RESERVED_DESCRIPTORS = 128
_CLIENTS_SHARE = 4
_BY_CLIENT_MIN = 256
_HEAD_SECONDS = 10.0
_WATCH_SECONDS = 1.0
# This part of the connections makes place at once, if it is idle: a scan of all is then rare.
_PLACES_SHARE = 32


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a server's connections, and the time to send a request's head."""

    in_all: int
    by_client: int
    head_seconds: float = _HEAD_SECONDS

    @classmethod
    def of_process(cls) -> Self:
        """Return the bounds that this process's limit of open files allows."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = _IN_ALL_MAX if soft == resource.RLIM_INFINITY else soft - _RESERVED_DESCRIPTORS
        in_all = max(min(files, _IN_ALL_MAX), 1)
        return cls(in_all, max(in_all // _CLIENTS_SHARE, min(_BY_CLIENT_MIN, in_all)))


class Connections:
    """The open connections of one server."""

    def __init__(self, bounds: Bounds, clients: ClientAddresses, metrics: Metrics) -> None:
        self.bounds = bounds
        self._clients = clients
        self._metrics = metrics
        self._open: dict[HttpConnection, str] = {}  # in the order in which they came
        self._by_client: Counter[str] = Counter()
        self._events: Counter[tuple[str, str]] = Counter()  # since they were last logged
        # Once it is set, each connection ends with its next answer.
        self.leaving = False
        self._left = asyncio.Event()

    def admit(self, connection: HttpConnection, peer: str) -> bool:
        """Count a new connection. Return False where it is beyond the bounds."""
        # Behind a proxy of ours are many clients: its connections are bounded with all the others.
        client = "" if self._clients.trusts(peer) else as_client(peer)
        if client and self._by_client[client] >= self.bounds.by_client:
            self.note("connections.refused", "too many of one client")
            return False
        if len(self._open) >= self.bounds.in_all and not self._make_place():
            self.note("connections.refused", "too many in all")
            return False
        self._open[connection] = client
        self._by_client[client] += 1
        return True

    def release(self, connection: HttpConnection) -> None:
        """Forget a connection that is closed."""
        client = self._open.pop(connection, None)
        if client is None:
            return
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
        if not self._open:
            self._left.set()

    async def left(self, seconds: float) -> None:
        """Return when no connection is open any more, or after these seconds.

        A caller may be sending on a connection that has been idle. It would lose its call if that were closed at once,
        and a proxy may not repeat every call: it cannot know that this one was not read.
        """
        if self._open:
            self._left.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._left.wait()

    def note(self, event: str, kind: str) -> None:
        """Count an event of a kind. Nothing else of it reaches the log, which has one line for each second and kind."""
        self._events[event, kind] += 1
        self._metrics.count_event(event, kind)

    async def watch(self) -> None:
        """Close connections whose head does not come, and log what was counted, for as long as the process lives."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            self._close_headless()
            self.log_events()

    def log_events(self) -> None:
        """Write a line for each event and kind that was counted since the last time."""
        events, self._events = self._events, Counter()
        for (event, kind), count in events.items():
            log.warning(event, kind=kind, count=count)

    def _close_headless(self) -> None:
        before = asyncio.get_running_loop().time() - self.bounds.head_seconds
        headless = [
            connection for connection in self._open if (since := connection.head_since) is not None and since < before
        ]
        self._close(headless, "no request came")

    def _make_place(self) -> bool:
        """Close idle connections, first those that never said anything, then those of the client that has most."""
        idle = sorted((connection for connection in self._open if connection.is_idle), key=self._worth_keeping)
        self._close(idle[: max(1, self.bounds.in_all // _PLACES_SHARE)], "idle, and others needed the place")
        return len(self._open) < self.bounds.in_all

    def _worth_keeping(self, connection: HttpConnection) -> tuple[bool, int]:
        return connection.has_spoken, -self._by_client[self._open[connection]]

    def _close(self, connections: Iterable[HttpConnection], kind: str) -> None:
        for connection in connections:
            self.note("connections.closed", kind)
            connection.force_close()
            self.release(connection)
