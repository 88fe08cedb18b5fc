"""The short way for nearly all requests of a receiver: a webhook that came in one piece, at the plain address.

aiohttp's router, middlewares and headers are a third of a request's cost, and come to the same each time
(docs/decisions/0018-answer-webhooks-before-the-router.md). Any other request goes aiohttp's own way.
"""

import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from service.http.connection import ends_with_answer
from service.http.problems import HttpProblem, answered
from service.http.receiver import Receiver

Way = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BODY = b"OK"
_CONTINUE = "100-continue"
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nDate: {}\r\n\r\n"


def shortened(address: str, receive: Way, receiver: Receiver, whole_way: Way) -> Way:
    """Return a server's handler that receives at once a request for this address that came in one piece."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST" and request.rel_url.raw_path == address and request.content.is_eof():
            return await answered(receiver, request, address, receive(request))
        if request.headers.get("Expect", _CONTINUE).lower() != _CONTINUE:
            return await answered(receiver, request, "unknown", _refuse_expectation())
        return await whole_way(_without_trailing_slash(request))

    return handle


async def _refuse_expectation() -> web.StreamResponse:
    raise HttpProblem(417, "unknown-expectation", "Send no other Expect than 100-continue.", Connection="close")


def _without_trailing_slash(request: web.BaseRequest) -> web.BaseRequest:
    """Return the request for the address without a slash at its end, which people add in PortOne's console."""
    path = request.rel_url.raw_path
    if not path.endswith("/") or path == "/":
        return request
    url = URL.build(path=path.rstrip("/") or "/", query_string=request.rel_url.raw_query_string, encoded=True)
    return request.clone(rel_url=url)


def received(request: web.BaseRequest) -> web.StreamResponse:
    """Return `200 OK`, to be sent once a notice is durable."""
    if request.version == HttpVersion11 and not ends_with_answer(request):
        return _RECEIVED
    return web.Response(body=_BODY, content_type="text/plain")


class _Received(web.StreamResponse):
    """The answer on a connection that stays, the same for all. Its bytes, with the date, are made once a second."""

    _keep_alive = _eof_sent = True  # nothing is left to send but what `prepare` writes
    _made = 0
    _bytes = b""

    def force_close(self) -> None:
        """Keep the connection: this answer is that of all connections, and its head does not say that one ends."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender is gone")
        if (now := int(time.time())) != self._made:
            self._bytes = _HEAD.format(len(_BODY), formatdate(now, usegmt=True)).encode() + _BODY
            self._made = now
        transport.write(self._bytes)
        await request.writer.drain()
        return None


_RECEIVED = _Received()
