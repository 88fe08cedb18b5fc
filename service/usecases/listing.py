"""Listing orders, and the history of one: reads that may be heavy, on connections of their own.

No list keeps the reads of single orders waiting, because they share no connection and no queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.db import order_events, order_list, order_views
from service.db.order_events import Event
from service.db.order_list import Filters, Place
from service.db.order_views import OrderView
from service.db.pool import Connection, Pool, in_snapshot, in_statement
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake
from service.usecases.standby_reads import Dated, StandbyReads

# Turning more rows than these into objects at once would keep everybody else waiting for the event loop.
_READ_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of a list: its filters, the place that it follows (None: the beginning), and its size."""

    filters: Filters
    place: Place | None
    limit: int
    age_max_seconds: float = 0.0

    @property
    def may_be_old(self) -> bool:
        """Return whether a standby may answer.

        Whoever asks for changes since a time, asks next for those since now; and whoever names orders may have just
        registered them.
        """
        return self.filters.updated_since is None and self.filters.merchant_uids is None


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A page of an order's history: the version that it follows, and its size."""

    merchant_uid: str
    after: int
    limit: int
    age_max_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderPage:
    """The orders of one page, all as of one moment, and the place behind them. None: no more follow."""

    views: Sequence[OrderView]
    next: Place | None


class Listing:
    """Lists orders and histories, one query after the other on each connection.

    `pool` has a connection for each list that may be read at once, and one for histories, which are quick.

    What a walk of all pages is promised. Each page shows its orders as of one moment. By number: every order that was
    registered before the walk began, and meets the filters whenever it is passed, comes exactly once. By
    `updated_since`: every order whose last change was committed before the walk began comes at least once; one that
    changes meanwhile may come again, with its newer version. Nothing says what changed after a walk: that is what the
    feed of events is for.
    """

    def __init__(self, pool: Pool, bounds: BatchBounds, intake: Intake, standby: StandbyReads | None = None) -> None:
        self._pool = pool
        self._standby = standby
        self.batches = Coalescer[ListQuery, Dated[OrderPage]](self._list, bounds, gives_way_to=intake.batches)
        self.history_batches = Coalescer[HistoryQuery, Dated[list[Event]]](
            self._history, BatchBounds(1, waiting=bounds.waiting), gives_way_to=intake.batches
        )

    async def page(self, query: ListQuery) -> Dated[OrderPage]:
        """Return a page of orders. Raises Overloaded or PostgresUnavailable."""
        return await self.batches.join(query)

    async def history(self, query: HistoryQuery) -> Dated[list[Event]]:
        """Return a page of an order's versions, the oldest first. Raises Overloaded or PostgresUnavailable."""
        return await self.history_batches.join(query)

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.batches.close()
        await self.history_batches.close()

    async def _list(self, queries: Sequence[ListQuery]) -> Sequence[Dated[OrderPage]]:
        return [await self._page(query) for query in queries]

    async def _page(self, query: ListQuery) -> Dated[OrderPage]:
        if self._standby and query.may_be_old:
            dated = await self._standby.read(query.age_max_seconds, _read_page, query)
            if dated:
                return dated
        return Dated(await in_snapshot(self._pool, _read_page, query))

    async def _history(self, queries: Sequence[HistoryQuery]) -> Sequence[Dated[list[Event]]]:
        return [await self._versions(query) for query in queries]

    async def _versions(self, query: HistoryQuery) -> Dated[list[Event]]:
        where = query.merchant_uid, query.after, query.limit
        if self._standby:
            dated = await self._standby.read(query.age_max_seconds, order_events.after, *where)
            # An order of which the standby has nothing may be new.
            if dated and dated.value:
                return dated
        return Dated(await in_statement(self._pool, order_events.after, *where))


async def _read_page(db: Connection, query: ListQuery) -> OrderPage:
    place = query.place
    if place is None:
        place = await order_list.first_place(db, query.filters)
    walked = await order_list.walk(db, query.filters, place, query.limit)
    views: dict[str, OrderView] = {}
    for start in range(0, len(walked.merchant_uids), _READ_AT_ONCE):
        views |= await order_views.read(db, walked.merchant_uids[start : start + _READ_AT_ONCE])
    return OrderPage([views[merchant_uid] for merchant_uid in walked.merchant_uids], walked.next)
