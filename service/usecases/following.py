"""Following the feed: pages of events after a cursor, at once or when there is one.

All who follow closely share what the head has in memory: a change costs one statement, however many follow. Whoever is
further behind reads from Postgres, and those who stand at the same event share the read.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from service.db import feed
from service.db.feed import FeedEvent
from service.db.pool import Pool, in_statement
from service.errors import FeedHeldBack, Overloaded, PostgresUnavailable, UnknownCursor
from service.usecases.change_waiters import ChangeWaiters
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.feed_head import EVENTS_READ_AT_ONCE, Entry, FeedHead
from service.usecases.places import Places

# Being woken is only a hint, which gets lost where Redis is away or a process is killed before it sends it. While
# somebody waits, the head is read this often all the same.
_POLL_SECONDS = 1.0
# Ids that were drawn, and whose transactions have not ended: they will in milliseconds, or are held back.
_SOON_SECONDS = 0.004
_SOON_MAX_SECONDS = 0.1
# Reads of the head begin at least this far apart, so that a flood of changes costs 200 statements a second at most.
_SPACING_SECONDS = 0.005
# How often the head is read again for a caller before it is known, and how much of the past a call looks through.
_TRIES = 40
_READS_A_CALL = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """The events that a follower wants. An empty set lets all pass."""

    states: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    merchant_uids: frozenset[str] = frozenset()

    def includes(self, event: FeedEvent) -> bool:
        """Say whether the follower wants this event."""
        return (
            (not self.states or event.state in self.states)
            and (not self.types or event.type in self.types)
            and (not self.accounts or event.account in self.accounts)
            and (not self.merchant_uids or event.merchant_uid in self.merchant_uids)
        )


ALL_EVENTS = Wanted()


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events, and the id of the event to read on from, which may be one that the follower did not want."""

    events: Sequence[Entry]
    next: int


@dataclass(frozen=True, slots=True)
class FeedBounds:
    """The bounds of following: connections that read the past, reads that may wait, and calls that wait or stream."""

    connections: int = 1
    waiting: int = 2_000
    followers: int = 2_000


# A read of the past: after which event, and of which orders (none: of all).
_Read = tuple[int, frozenset[str]]


class Feed:
    """The feed of one process. `head_pool` has one connection; `pool` those that read the past."""

    def __init__(self, head_pool: Pool, pool: Pool, waiters: ChangeWaiters, bounds: FeedBounds) -> None:
        self._pool = pool
        self._waiters = waiters
        self._head = FeedHead(head_pool)
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()
        self.is_stopping = False
        self.followers = Places(bounds.followers)
        head = BatchBounds(bounds.waiting, waiting=bounds.waiting, spacing_seconds=_SPACING_SECONDS)
        self.head_reads = Coalescer[None, None](self._advance, head)
        self.reads = Coalescer[_Read, FeedPage](
            self._read_past, BatchBounds(4, bounds.connections, bounds.waiting, whole_beside=bounds.connections)
        )

    async def start(self, cursor: int | None) -> int:
        """Return the event to follow from; None is the newest. Whoever is behind what is known needs no newer head.

        Raises UnknownCursor, FeedHeldBack, Overloaded or PostgresUnavailable.
        """
        if cursor is not None and self._head.last is not None and cursor < self._head.last:
            return cursor
        await self._read_head()
        if self._head.last is None:
            raise FeedHeldBack
        if cursor is not None and cursor > self._head.drawn:
            raise UnknownCursor
        return self._head.last if cursor is None else cursor

    async def page(
        self, after: int, wanted: Wanted, limit: int, wait_seconds: float = 0.0, caller: bytes = b""
    ) -> FeedPage:
        """Return the events after this one that are wanted, when there is one or the wait is over.

        Call `start` first. Raises Overloaded or PostgresUnavailable.
        """
        if not wait_seconds:
            return await self._next_page(after, wanted, limit)
        with self.followers.taken(caller):
            return await self.next_page(after, wanted, limit, wait_seconds)

    async def next_page(self, after: int, wanted: Wanted, limit: int, wait_seconds: float) -> FeedPage:
        """Return what `page` does, for a follower that has a place."""
        until = time.monotonic() + wait_seconds
        while True:
            moved = self._moved  # before reading, so that no move is missed
            page = await self._next_page(after, wanted, limit)
            left = until - time.monotonic()
            if page.events or left <= 0 or self.is_stopping:
                return page
            after = page.next
            if after >= (self._head.last or 0):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await moved.wait()

    def heard(self, merchant_uids: Sequence[str] | None) -> None:
        """Note that these orders have changed; None: any may have. Never blocks."""
        if merchant_uids is None:
            self._waiters.wake_all()
        else:
            self._waiters.wake(merchant_uids)
        if self.followers.waiting and (merchant_uids is None or merchant_uids):
            self._woken.set()

    async def watch(self) -> None:
        """Read the head whenever orders change, and every second, while somebody waits. It runs with the process."""
        pause = _POLL_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            self._woken.clear()
            if not self.followers.waiting and not self._waiters.places.waiting:
                pause = _POLL_SECONDS
                continue
            before = self._head.last
            with contextlib.suppress(PostgresUnavailable, Overloaded):
                await self.head_reads.join(None)
            pause = self._pause(pause, moved=self._head.last != before)

    async def lag_seconds(self) -> float:
        """Return for how long followers have missed the oldest event that is held back. Raises PostgresUnavailable."""
        return await self._head.lag_seconds()

    def stop(self) -> None:
        """Answer all who wait, because the process ends."""
        self.is_stopping = True
        self._moved.set()

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.head_reads.close()
        await self.reads.close()

    def _pause(self, last: float, *, moved: bool) -> float:
        if not self._head.is_behind:
            return _POLL_SECONDS
        return _SOON_SECONDS if moved or last > _SOON_MAX_SECONDS else min(2 * last, _SOON_MAX_SECONDS)

    async def _read_head(self) -> None:
        """Read the head after this call; until it is known, a few times."""
        await self.head_reads.join(None)
        for _ in range(_TRIES):
            if self._head.last is not None:
                return
            await self.head_reads.join(None)

    async def _advance(self, calls: Sequence[None]) -> Sequence[None]:
        before = self._head.last
        events = await self._head.advance()
        if events is None:
            self._waiters.wake_all()
        for event in events or ():
            self._waiters.wake_older(event.merchant_uid, event.version)
        if self._head.last != before and not self.is_stopping:
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()
        return calls

    async def _next_page(self, after: int, wanted: Wanted, limit: int) -> FeedPage:
        """Return what is wanted of a bounded part of the feed; perhaps nothing, though more comes after `next`."""
        for _ in range(_READS_A_CALL):
            page = _cut(await self._part(after, wanted), after, wanted, limit)
            if page.events or page.next >= (self._head.last or 0):
                return page
            after = page.next
        return page

    async def _part(self, after: int, wanted: Wanted) -> FeedPage:
        entries = self._head.entries_after(after)
        if entries is not None:
            is_whole = len(entries) < EVENTS_READ_AT_ONCE
            return FeedPage(entries, max(after, self._head.last or 0) if is_whole else entries[-1].event.id)
        return await self.reads.join((after, wanted.merchant_uids))

    async def _read_past(self, reads: Sequence[_Read]) -> Sequence[FeedPage]:
        pages = {read: await self._read_one(*read) for read in dict.fromkeys(reads)}
        return [pages[read] for read in reads]

    async def _read_one(self, after: int, merchant_uids: frozenset[str]) -> FeedPage:
        """Read up to the last known event: it is committed, so no crash brings ids below it again."""
        upto = self._head.last or 0
        if merchant_uids:
            events = await in_statement(
                self._pool, feed.events_of, sorted(merchant_uids), after, upto, EVENTS_READ_AT_ONCE
            )
        else:
            events = await in_statement(self._pool, feed.events, after, upto, EVENTS_READ_AT_ONCE)
        is_whole = len(events) < EVENTS_READ_AT_ONCE
        return FeedPage([Entry.of(event) for event in events], max(after, upto) if is_whole else events[-1].id)


def _cut(part: FeedPage, after: int, wanted: Wanted, limit: int) -> FeedPage:
    """Take the first wanted events of a part. Without a filter none is looked at."""
    if wanted == ALL_EVENTS:
        if len(part.events) <= limit:
            return part
        return FeedPage(part.events[:limit], part.events[limit - 1].event.id)
    shown: list[Entry] = []
    for entry in part.events:
        if wanted.includes(entry.event):
            shown.append(entry)
            if len(shown) == limit:
                return FeedPage(shown, entry.event.id)
    return FeedPage(shown, part.next)
