"""A shop's own server, of another origin than the sandbox: its pages, and what it is sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PLAIN = """<!doctype html>
<html lang="ko"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shop</title><script src="{script}"></script></head>
<body><main><h1>Shop</h1><button id="before">Before</button></main></body></html>"""

# Scripts and frames of the sandbox alone, as a careful shop would allow PortOne's.
STRICT_POLICY = "default-src 'none'; script-src {origin}; frame-src {origin}"


@dataclass
class Merchant:
    """Pages by path, and the requests that came. `localhost` is a secure context, which the guide's page needs."""

    origin: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    posts: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    answer_status: int = 200
    answer: Any = None
    answer_after: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers to POST wait for it; it is set unless a test clears it."""
    take_order: Callable[[str], Awaitable[object]] | None = None
    """Called with each order's number that a page sends to `/orders`."""
    visits: list[str] = field(default_factory=list)
    """The addresses of the pages that were asked for, with their queries as they came."""

    def __post_init__(self) -> None:
        self.answer_after.set()

    def add_page(self, path: str, script: str, body: str = PLAIN) -> str:
        """Serve a page with this script's address; return the page's own."""
        self.pages[path] = body.replace("{script}", script)
        return f"{self.origin}{path}"

    async def next_post(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.posts.get(), 20)

    async def serve(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.posts.put_nowait((request.path, await request.json()))
            await self.answer_after.wait()
            if request.path == "/orders" and self.take_order is not None:
                await self.take_order((await request.json())["merchant_uid"])
            return web.json_response(self.answer, status=self.answer_status)
        self.visits.append(str(request.rel_url))
        page = self.pages.get(request.path, "<!doctype html><html lang=ko><title>Done</title><h1>Done</h1></html>")
        return web.Response(text=page, content_type="text/html", headers=self.headers)


@asynccontextmanager
async def running_merchant() -> AsyncIterator[Merchant]:
    merchant = Merchant()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", merchant.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        merchant.origin = f"http://localhost:{runner.addresses[0][1]}"
        yield merchant
    finally:
        merchant.answer_after.set()
        await runner.cleanup()
