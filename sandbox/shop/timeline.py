"""The live timeline: an order's events as server-sent events, those of the past first."""

import asyncio
import contextlib
from collections.abc import Mapping

import orjson
from aiohttp import web

from sandbox.journal import Event
from sandbox.shop.orders import open_shop
from sandbox.world import WORLD

HEARTBEAT_SECONDS = 15.0
MOST_STREAMS = 50  # of all pages together
LONGEST_SECONDS = 3600.0  # then the browser connects again by itself

STREAMS = web.AppKey("timeline_streams", set[asyncio.Task[None]])

_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}


async def stream_events(request: web.Request) -> web.StreamResponse:
    """`GET /shop/api/orders/{merchant_uid}/events`: every event of the order, then each as it happens."""
    shop, streams, merchant_uid = open_shop(request), request.app[STREAMS], request.match_info["merchant_uid"]
    if len(streams) >= MOST_STREAMS:
        raise web.HTTPServiceUnavailable(reason="Too many pages show a timeline")
    if (await shop.service.read(merchant_uid)).status != 200:
        raise web.HTTPNotFound
    request.app[WORLD].watch_order(merchant_uid)
    response = web.StreamResponse(headers=_HEADERS)
    with shop.order_watch.listening(merchant_uid):
        sending = asyncio.create_task(_send_events(request, response, merchant_uid))
        streams.add(sending)
        try:
            with contextlib.suppress(ConnectionError, asyncio.TimeoutError, asyncio.CancelledError):
                await sending
        finally:
            sending.cancel()
            streams.discard(sending)
    return response


async def end_streams(app: web.Application) -> None:
    """End every stream, so that a sandbox that stops does not wait for its pages."""
    for sending in app[STREAMS]:
        sending.cancel()


async def _send_events(request: web.Request, response: web.StreamResponse, merchant_uid: str) -> None:
    journal, last = request.app[WORLD].journal, _last_number(request.headers)
    await response.prepare(request)
    await response.write(b"retry: 1000\n\n")
    async with asyncio.timeout(LONGEST_SECONDS):
        while journal.watches(merchant_uid):
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    events = await journal.wait(merchant_uid, last)
            except TimeoutError:
                await response.write(b": still here\n\n")
                continue
            for event in events:
                await response.write(as_frame(event))
                last = event.number


def as_frame(event: Event) -> bytes:
    """Return an event as a server-sent event; its number is the id with which a browser resumes."""
    data = orjson.dumps({"at": event.at, "kind": event.kind, "evidence": event.evidence, "number": event.number})
    return b"id: %d\ndata: %s\n\n" % (event.number, data)


def _last_number(headers: Mapping[str, str]) -> int:
    text = headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
