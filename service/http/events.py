"""The feed of order changes over HTTP: pages, which may wait for the next change, and server-sent events."""

import asyncio
import contextlib
from typing import Any

import orjson
from aiohttp import web
from pydantic import AwareDatetime, BaseModel, Field

from service.domain.event_type import EVENT_TYPES
from service.domain.feed_cursor import cursor_of, read_cursor
from service.domain.order import Closed, State
from service.errors import ServiceError
from service.http.endpoints import EndpointTable, HttpAnswer, Parameter
from service.http.feed_query import NEWEST, FeedQuery, StreamQuery
from service.http.field_types import Amount, Currency, ImpUid, MerchantUid, open_words
from service.http.keys import key_of, while_allowed
from service.http.order_answers import FindingAnswer, Money
from service.http.problem_types import DATABASE_PROBLEMS
from service.http.problems import HttpProblem
from service.http.queries import read_query
from service.http.receiver import RECEIVER
from service.usecases.following import ALL_EVENTS, FeedPage, Wanted

# A silent stream says this often that it lives, with its cursor, which moves past events that are not wanted.
_BEAT_SECONDS = 15.0
# A reader that takes nothing for this long is cut off. Until then its connection holds one page at most.
_SLOW_SECONDS = 10.0
_STREAMED_AT_ONCE = 100
_COME_AGAIN_MS = 2_000
_ENDING_SECONDS = 20.0


endpoints = EndpointTable("events")


class EventAnswer(BaseModel):
    """A change of an order, with the order's facts as they were then."""

    id: str = Field(description="Also the cursor just after this event.")
    type: str = open_words(EVENT_TYPES, "What has changed.")
    merchant_uid: MerchantUid
    version: int = Field(ge=1)
    state: str = open_words(State, "docs/states.md describes each.")
    amount: Amount
    currency: Currency
    paid_amount: Money
    cancelled_amount: Money
    imp_uid: ImpUid | None
    problems: list[FindingAnswer]
    closed: str | None = open_words(Closed, "Whether the order took no payment any more, and why.")
    at: AwareDatetime


class EventsAnswer(BaseModel):
    """Events in the feed's order."""

    events: list[EventAnswer]
    next: str = Field(description="The cursor to go on from. It also passes events that were not wanted.")


_EXAMPLE: dict[str, Any] = {
    "id": "evt_1f",
    "type": "order.paid",
    "merchant_uid": "order-1",
    "version": 2,
    "state": "paid",
    "amount": 64900,
    "currency": "KRW",
    "paid_amount": 64900,
    "cancelled_amount": 0,
    "imp_uid": "imp_448280090638",
    "problems": [],
    "closed": None,
    "at": "2026-11-24T05:00:00Z",
}
_PROBLEMS = ("unknown-cursor", "feed-held-back", *DATABASE_PROBLEMS)
_LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    str,
    "The id of the last event that was received. It counts before `after`.",
    example="evt_1f",
    problems=("invalid-parameters",),
)


@endpoints.add(
    "GET",
    "/events",
    "Follow the changes of all orders",
    "Each change of each order, once, in order per order. Keep `next`, and ask again with it as `after`: no change is"
    " skipped, whenever that is. Where filters leave much out, a page may have fewer events than `limit`, or none,"
    " although more follow.",
    id="readEvents",
    scope="events:read",
    parameters=FeedQuery.parameters(),
    answers={
        200: HttpAnswer(
            "Events in the feed's order, perhaps none.",
            EventsAnswer,
            {"paid": {"events": [_EXAMPLE], "next": "evt_1f"}},
        )
    },
    problems=_PROBLEMS,
)
async def read_events(request: web.Request) -> web.Response:
    """Answer the events after a cursor, at once or when there is one."""
    query = read_query(request, FeedQuery)
    feed = request.app[RECEIVER].feed
    after = await feed.start(_after(query.after))
    async with while_allowed(request):
        page = await feed.page(after, _wanted(query), query.limit, query.wait, key_of(request).digest)
    events = b",".join(entry.json for entry in page.events)
    body = b'{"events":[%b],"next":"%b"}\n' % (events, cursor_of(page.next).encode())
    return web.Response(body=body, content_type="application/json")


@endpoints.add(
    "GET",
    "/events/stream",
    "Follow the changes of all orders as server-sent events",
    "What `/events` has: each event's `id` is the cursor just after it, and its `data` the event as JSON. Connect again"
    " with it as `Last-Event-ID`. An event of the type `end` has the cursor to go on from as `next`, and says as `why`"
    " that the service restarts, for example, that the stream was read too slowly, or that the key has ended.",
    id="streamEvents",
    scope="events:read",
    parameters=(*StreamQuery.parameters(), _LAST_EVENT_ID),
    answers={200: HttpAnswer("Events, as they come.", str, media_type="text/event-stream")},
    problems=_PROBLEMS,
)
async def stream_events(request: web.Request) -> web.StreamResponse:
    """Send the events after a cursor as server-sent events, for as long as the reader keeps up."""
    query = read_query(request, StreamQuery)
    feed = request.app[RECEIVER].feed
    after = await feed.start(_after(_last_event_id(request) or query.after))
    stream = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    stream.content_type = "text/event-stream"
    with contextlib.suppress(ConnectionError):  # the reader is gone
        with feed.followers.taken(key_of(request).digest):
            await stream.prepare(request)
            after, why = await _follow(request, stream, after, _wanted(query))
        await _end(stream, after, why)
    _close(request, stream)
    return stream


async def _follow(request: web.Request, stream: web.StreamResponse, after: int, wanted: Wanted) -> tuple[int, str]:
    """Send page after page. Return the last event that was sent, and why no other is."""
    feed = request.app[RECEIVER].feed
    try:
        async with while_allowed(request):
            await stream.write(b"retry: %d\nid: %b\n\n" % (_COME_AGAIN_MS, cursor_of(after).encode()))
            while not feed.is_stopping:
                page = await feed.next_page(after, wanted, _STREAMED_AT_ONCE, _BEAT_SECONDS)
                after = page.next  # a page that does not go out in time has its place in the buffer all the same
                async with asyncio.timeout(_SLOW_SECONDS):
                    await stream.write(_sent(page))
    except TimeoutError:
        return after, "The stream was read too slowly."
    except ServiceError as error:
        return after, str(error)
    return after, "The service restarts."


async def _end(stream: web.StreamResponse, after: int, why: str) -> None:
    """Tell the reader where to go on. One that takes nothing does not learn it, and goes on from its last event."""
    end = orjson.dumps({"next": cursor_of(after), "why": why})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING_SECONDS):
            await stream.write(b"event: end\nid: %b\ndata: %b\n\n" % (cursor_of(after).encode(), end))
            await stream.write_eof()


def _close(request: web.Request, stream: web.StreamResponse) -> None:
    """Close the connection, also of a reader that takes nothing."""
    stream.force_close()
    transport = request.transport
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()


def _sent(page: FeedPage) -> bytes:
    if not page.events:
        return b": %b\nid: %b\n\n" % (b"waiting", cursor_of(page.next).encode())
    return b"".join(b"id: %b\ndata: %b\n\n" % (cursor_of(entry.event.id).encode(), entry.json) for entry in page.events)


def _last_event_id(request: web.Request) -> str | None:
    """Return the cursor that a reader which connects again has. Raises HttpProblem."""
    cursor = request.headers.get("Last-Event-ID", "").strip()
    if cursor and read_cursor(cursor) is None:
        raise HttpProblem(400, "invalid-parameters", "Send Last-Event-ID as the id of an event of this stream.")
    return cursor or None


def _after(after: str | None) -> int | None:
    """Return the event's id to follow from: 0 is the beginning, None the newest."""
    if after == NEWEST:
        return None
    return read_cursor(after) if after else 0


def _wanted(query: StreamQuery) -> Wanted:
    filters = (query.state, query.type, query.account, query.merchant_uid)
    wanted = Wanted(*(frozenset(wanted or ()) for wanted in filters))
    return ALL_EVENTS if wanted == ALL_EVENTS else wanted
