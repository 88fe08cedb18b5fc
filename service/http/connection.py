"""aiohttp's connection with what it lacks: bounds on connections, a time for the head, and a log that tells nothing.

aiohttp logs requests that it cannot parse with their bytes, and answers them with texts of its own. Here such a request
is counted by its kind, and a buyer's browser is still sent on to the shop.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from aiohttp import web, web_response

from service.http.faults import log_fault

# In place of aiohttp's name with its version and Python's, of which nobody needs to know.
web_response.SERVER_SOFTWARE = "portone-orders"  # type: ignore[attr-defined]
# Enough to tell which address a request was for.
_START_BYTES = 64
# A browser may bring cookies of the whole domain.
HEAD_LINE_MAX_BYTES = 32 * 1024


class Watcher(Protocol):
    """The place where a connection reports. `leaving`: each connection ends with its next answer."""

    leaving: bool

    def admit(self, connection: "HttpConnection", peer: str) -> bool: ...

    def release(self, connection: "HttpConnection") -> None: ...

    def note(self, event: str, kind: str) -> None: ...


# Makes the answer to a request that failed, from the status and the first bytes of it.
RawAnswer = Callable[[int, bytes], web.Response]


class HttpConnection(web.RequestHandler):
    """One connection. `head_since`: when its unfinished head began, or the connection if nothing has come."""

    __slots__ = ("_admitted", "_answer", "_start", "_waiting", "_watcher", "head_since")

    def __init__(
        self, server: web.Server, watcher: Watcher, answer: RawAnswer, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=HEAD_LINE_MAX_BYTES,
            max_field_size=HEAD_LINE_MAX_BYTES,
        )
        self._watcher = watcher
        self._answer = answer
        self._admitted = False
        self._start = b""
        self._waiting: asyncio.Task[Any] | None = None
        self.head_since: float | None = None

    @property
    def has_spoken(self) -> bool:
        """Say whether a request has come on this connection."""
        return self._request_count > 0

    @property
    def is_leaving(self) -> bool:
        """Say whether this connection ends with its next answer."""
        return self._watcher.leaving

    @property
    def is_idle(self) -> bool:
        """Say whether no request is under way."""
        return self._waiter is not None and not self._messages

    @contextlib.contextmanager
    def keeps_waiting(self) -> Iterator[None]:
        """Cancel the block when the caller is gone."""
        self._waiting = asyncio.current_task()
        try:
            yield
        finally:
            self._waiting = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._admitted = self._watcher.admit(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if not self._admitted:
            cast("asyncio.Transport", transport).abort()
            return
        self.head_since = self._loop.time()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._admitted:
            self._watcher.release(self)
            if self._waiting is not None:
                self._waiting.cancel()
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        count = self._request_count
        if self.head_since is None:
            self._start = b""
        if len(self._start) < _START_BYTES:
            self._start += data[: _START_BYTES - len(self._start)]
        super().data_received(data)
        if self._request_count != count or (count and self._waiter is None):
            self.head_since = None  # a head has come whole, or its request is under way
        elif self.head_since is None:
            self.head_since = self._loop.time()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; where the receiver is about to end, one that ends the connection."""
        if self._watcher.leaving:
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be understood, or could not be answered."""
        if status < 500:
            self._watcher.note("requests.not_understood", type(exc).__name__)
        elif exc is not None:
            log_fault("request.failed", exc)
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer was sent already")
        response = self._answer(status, self._start)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an error outside of handlers, without what it says."""
        exc = kw.get("exc_info")
        if isinstance(exc, BaseException):
            log_fault("connection.failed", exc)

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Log nothing: aiohttp's debug lines tell of requests."""


def ends_with_answer(request: web.BaseRequest) -> bool:
    """Say whether the answer to this request ends its connection, which its head then has to say."""
    connection = request.protocol
    return not request.keep_alive or (isinstance(connection, HttpConnection) and connection.is_leaving)


def while_connected(request: web.Request) -> AbstractContextManager[None]:
    """Cancel the block when the caller is gone. A wait must not keep its place for somebody who has left.

    Writes go on without their caller: only what waits and changes nothing may be cancelled.
    """
    connection = request.protocol
    return connection.keeps_waiting() if isinstance(connection, HttpConnection) else contextlib.nullcontext()
