"""An endpoint of another service, which gets outgoing webhooks and answers as a test wants."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from service.domain.feed_cursor import read_cursor


@dataclass(frozen=True)
class Received:
    """A webhook as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = orjson.loads(self.body)["data"]
        return data

    @property
    def event_id(self) -> int:
        event_id = read_cursor(self.headers["webhook-id"])
        assert event_id is not None
        return event_id

    @property
    def order(self) -> str:
        return str(self.data["merchant_uid"])


Answering = Callable[[Received], Awaitable[web.StreamResponse]]


async def well(_: Received) -> web.StreamResponse:
    return web.Response(status=204)


@dataclass
class Receiving:
    """Everything that came, in order, and what of it was answered with success."""

    answer: Answering = well
    url: str = ""
    received: list[Received] = field(default_factory=list)
    accepted: list[Received] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        received = Received({name.lower(): value for name, value in request.headers.items()}, await request.read())
        self.received.append(received)
        answer = await self.answer(received)
        if 200 <= answer.status < 300:
            self.accepted.append(received)
        return answer

    def versions(self, order: str) -> list[int]:
        """Return the order's versions as they were accepted."""
        return [received.data["version"] for received in self.accepted if received.order == order]


@contextlib.asynccontextmanager
async def receiving(answer: Answering = well, port: int = 0) -> AsyncIterator[Receiving]:
    """Run an endpoint on a loopback port."""
    endpoint = Receiving(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endpoint.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        yield endpoint
    finally:
        await runner.cleanup()
