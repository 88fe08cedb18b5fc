"""The short way of what is nearly all that a receiver hears: a webhook, whole, at the plain address.

aiohttp's router, its chain of middlewares and its making of headers are a third of what a request costs, and come to
the same each time (docs/decisions/0018-the-short-way.md). Whatever is out of the ordinary goes aiohttp's own way.
"""

import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from service.http.problems import answered
from service.http.receiver import Receiver

Way = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BODY = b"OK"
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nDate: {}\r\n\r\n"


def shortened(address: str, receive: Way, receiver: Receiver, whole_way: Way) -> Way:
    """What a server does with a request: one for this address, if it came in one piece, is received at once."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST" and request.rel_url.raw_path == address and request.content.is_eof():
            return await answered(receiver, request, address, receive(request))
        return await whole_way(request)

    return handle


class Received(web.Response):
    """`200 OK`. Its bytes are always the same but for the date, so they are made once a second."""

    _made = 0
    _bytes = b""

    def __init__(self) -> None:
        super().__init__(body=_BODY, content_type="text/plain")

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if transport is None or self.prepared or not request.keep_alive or request.version != HttpVersion11:
            return await super().prepare(request)
        self._keep_alive = self._eof_sent = True
        transport.write(self._now())
        await request.writer.drain()
        return None

    @classmethod
    def _now(cls) -> bytes:
        if (now := int(time.time())) != cls._made:
            Received._bytes = _HEAD.format(len(_BODY), formatdate(now, usegmt=True)).encode() + _BODY
            Received._made = now
        return cls._bytes
