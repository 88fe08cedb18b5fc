"""Follow the feed of changes from a stored cursor, across restarts of either side."""

from collections.abc import AsyncGenerator, Awaitable, Callable

from portone_orders_client.cursors import CursorStore
from portone_orders_client.models import Event, EventPage

ReadPage = Callable[[str | None], Awaitable[EventPage]]


async def follow(read: ReadPage, store: CursorStore, start: str | None) -> AsyncGenerator[Event, None]:
    """Yield each event, and save its cursor once the next one is asked for."""
    cursor = saved = await store.load()
    cursor = cursor or start
    while True:
        page = await read(cursor)
        for event in page.events:
            yield event
            await store.save(event.id)
            saved = event.id
        cursor = page.next
        if saved != cursor:  # past events that were filtered out, or where `now` was
            await store.save(cursor)
            saved = cursor
