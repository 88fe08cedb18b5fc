"""Send a range of events to an endpoint again."""

from service.db import endpoints, feed
from service.db.pool import Connection, Pool, in_transaction

# A part of a range. It holds the endpoint's next turn up for some tenths of a second.
_EVENTS_AT_ONCE = 5_000


async def replay(pool: Pool, name: str, first: int, last: int) -> int:
    """Send the orders of these events again, each from its first event in the range on. Return the count of events.

    Only events that the endpoint wants count. What lies ahead of its cursor is sent anyway.
    """
    count = 0
    for start in range(first, last + 1, _EVENTS_AT_ONCE):
        count += await in_transaction(pool, replay_part, name, start, min(start + _EVENTS_AT_ONCE - 1, last))
    return count


async def replay_part(db: Connection, name: str, first: int, last: int) -> int:
    """Do what `replay` does in one transaction."""
    place = await endpoints.keep_place(db, name)
    if place is None:
        return 0
    told_to, types = place
    events = await feed.events(db, first - 1, min(last, told_to), _EVENTS_AT_ONCE)
    wanted = [event for event in events if not types or event.type in types]
    await endpoints.move_back(db, name, {event.merchant_uid: event.id for event in reversed(wanted)})
    return len(wanted)
