"""Tell an open page that what it shows has changed, by server-sent events; the page then reads itself again.

The feed wakes it, and a change that was missed is found with the next beat, as everywhere (docs/design.md §3).
"""

import asyncio
import contextlib

from aiohttp import web

from service.errors import ServiceError
from service.http.connection import while_connected
from service.http.console.visits import Visit
from service.usecases.following import Wanted
from service.usecases.places import Places

# Pages that follow at one receiver.
PLACES_MAX = 100
_BEAT_SECONDS = 5.0
# No page reads itself again sooner.
_SPACING_SECONDS = 1.0
_SLOW_SECONDS = 10.0

PLACES = web.AppKey("console_places", Places)


async def stream(visit: Visit) -> web.StreamResponse:
    """Send an event at each change of the order that the address names, or with each beat, until the session ends."""
    request, feed = visit.request, visit.receiver.feed
    order = request.query.get("number", "")
    wanted = Wanted(merchant_uids=frozenset({order}))  # of the first page none: it reads itself again with each beat
    response = web.StreamResponse(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
    response.content_type = "text/event-stream"
    with contextlib.suppress(ConnectionError, TimeoutError), contextlib.ExitStack() as places:
        places.enter_context(request.app[PLACES].taken())
        places.enter_context(feed.followers.taken())
        after = await feed.start(None)
        places.enter_context(while_connected(request))
        await response.prepare(request)
        await response.write(b"retry: 3000\n\n")
        if order and await _is_older(visit, order):
            await response.write(b"data: changed\n\n")
        while not feed.is_stopping and await _is_signed_in(visit):
            try:
                page = await feed.next_page(after, wanted, 100, _BEAT_SECONDS)
            except ServiceError:
                break
            after = page.next
            async with asyncio.timeout(_SLOW_SECONDS):
                await response.write(b"data: changed\n\n" if page.events or not order else b": waiting\n\n")
            await asyncio.sleep(_SPACING_SECONDS)
    response.force_close()
    return response


async def _is_older(visit: Visit, order: str) -> bool:
    """Return whether the order has changed between the reading of its page and the beginning of the stream."""
    view = await visit.receiver.reading.read(order)
    return view is not None and str(view.order.version) != visit.request.query.get("version")


async def _is_signed_in(visit: Visit) -> bool:
    """Return whether the session goes on. While nobody can say, the page does not follow."""
    try:
        return visit.session is not None and await visit.receiver.sessions.find(visit.session.token) is not None
    except ServiceError:
        return False
