"""The head of the feed: its newest events in memory, so that all who follow closely share one statement."""

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.db import feed
from service.db.feed import FeedEvent
from service.db.pool import Connection, Pool, in_statement_on, one_session
from service.domain.feed_cursor import cursor_of
from service.domain.feed_horizon import Horizon

# The events of the last seconds under load, about a kilobyte each.
_KEPT = 4_000
EVENTS_READ_AT_ONCE = 500


def event_fields(event: FeedEvent) -> dict[str, Any]:
    """Return the event as other services see it."""
    return {
        "id": cursor_of(event.id),
        "type": event.type,
        "merchant_uid": event.merchant_uid,
        "version": event.version,
        "state": event.state,
        "amount": event.amount,
        "currency": event.currency,
        "paid_amount": event.paid_amount,
        "cancelled_amount": event.cancelled_amount,
        "imp_uid": event.imp_uid,
        "problems": event.problems,
        "closed": event.closed,
        "at": event.at,
    }


@dataclass(frozen=True, slots=True)
class Entry:
    """An event, and its JSON, which is made once for all who read it."""

    event: FeedEvent
    json: bytes

    @classmethod
    def of(cls, event: FeedEvent) -> "Entry":
        return cls(event, orjson.dumps(event_fields(event)))


class FeedHead:
    """The newest events. `last`: the newest that can be read, None until that is known. Read it by one task at a time.

    `drawn` is the last id that was drawn, by whoever: no cursor of this feed is beyond it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._horizon = Horizon()
        self._entries: list[Entry] = []
        self._ids: list[int] = []
        self._after = 0  # the entries are all events after this one, up to `last`
        self._kept_at = 0.0  # when the horizon's kept sample was taken
        self.last: int | None = None
        self.drawn = 0

    @property
    def is_behind(self) -> bool:
        """Return whether reading again soon may bring events."""
        return self._horizon.is_behind

    def entries_after(self, event_id: int) -> Sequence[Entry] | None:
        """Return the first events after this one, or None if they must be read from Postgres."""
        if event_id < self._after or self.last is None:
            return None
        first = bisect_right(self._ids, event_id)
        return self._entries[first : first + EVENTS_READ_AT_ONCE]

    async def advance(self) -> list[FeedEvent] | None:
        """Read on, and return the new events. None: there may be some, which the first read and a long gap leave out.

        Raises PostgresUnavailable.
        """
        async with one_session(self._pool) as connection:
            upto = await self._look(connection)
            if upto is None:
                return []
            if self.last is None or upto - self.last > 2 * _KEPT:
                await self._jump(connection, upto)
                return None
            events: list[FeedEvent] = []
            while self.last < upto:
                read = await in_statement_on(connection, feed.events, self.last, upto, EVENTS_READ_AT_ONCE)
                self._keep(read)
                events += read
                if len(read) < EVENTS_READ_AT_ONCE:
                    break
            return events

    async def lag_seconds(self) -> float:
        """Return for how long the oldest event that cannot be read yet has been held back. Raises PostgresUnavailable.

        It may have been there before anybody looked: only the time since the sample that waits for its writers counts.
        """
        async with one_session(self._pool) as connection:
            upto = await self._look(connection)
            if not self.is_behind:
                return 0.0
            held = time.monotonic() - self._kept_at
            beyond = self.last if upto is None else upto
            age = await in_statement_on(connection, feed.oldest_age_seconds, beyond or 0)
            return min(age or 0.0, held)

    async def _look(self, connection: Connection) -> int | None:
        position = await in_statement_on(connection, feed.position)
        self.drawn = position.last_id
        upto = self._horizon.observe(position)
        if self._horizon.kept is position:
            self._kept_at = time.monotonic()
        return upto

    async def _jump(self, connection: Connection, upto: int) -> None:
        """Begin at the newest event. Whoever is further behind reads from Postgres."""
        newest = await in_statement_on(connection, feed.newest, upto)
        self.last = self._after = max(newest, self.last or 0)
        self._entries, self._ids = [], []

    def _keep(self, events: Sequence[FeedEvent]) -> None:
        self._entries += map(Entry.of, events)
        self._ids += [event.id for event in events]
        if events:
            self.last = self._ids[-1]
        if len(self._ids) > 2 * _KEPT:
            self._after = self._ids[-_KEPT - 1]
            del self._entries[:-_KEPT], self._ids[:-_KEPT]
