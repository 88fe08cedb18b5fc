"""Figures of today that the promise's measure does not have: how many orders were paid, and the oldest due notice."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.db.pool import Connection
from service.domain.order import EXPIRES

# Of each span at most this many events are read, the newest; beyond it the span's counts are estimates.
EVENTS_READ_MAX = 1_000
# Of what waits at most this many rows are read.
WAITING_READ_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Span:
    """The changes of orders from `since` until the next span, and how many of them made an order paid.

    `estimated`: the span has more than EVENTS_READ_MAX changes, so that `paid` is the newest ones' share of them all.
    """

    since: datetime
    changes: int
    paid: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class WaitingOrders:
    """The orders that wait for money. `is_whole` False: there are more."""

    count: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice that is due and was not looked at yet."""

    id: str
    source: str
    imp_uid: str
    merchant_uid: str | None
    due_seconds: float


async def clock(db: Connection) -> datetime:
    """Return Postgres' time, to which all that is stored refers."""
    now: datetime = await db.fetchval("SELECT now()")
    return now


async def spans(db: Connection, since: Sequence[datetime]) -> list[Span]:
    """Count the changes since each of these times, until the next of them; the last span ends now.

    The events' ids are their times' order, so a span is found by its ends' ids, and its size is their distance, however
    many events there are. Only a few of them are read.
    """
    rows = await db.fetch(
        """
        WITH ends AS (
            SELECT since, last_event_before_v1(since) AS first FROM unnest($1::timestamptz[]) AS since
        ), spans AS (
            SELECT since, first, lead(first, 1, (SELECT coalesce(max(id), 0) FROM order_events WHERE id > 0))
                                     OVER (ORDER BY since) AS last
            FROM ends
        )
        SELECT s.since, s.last - s.first AS ids, s.last - c.lowest + 1 AS ids_read, c.changes, c.paid
        FROM spans s CROSS JOIN LATERAL (
            SELECT min(e.id) AS lowest, count(*) AS changes,
                   count(*) FILTER (WHERE e.state = 'paid' AND b.state IS DISTINCT FROM 'paid') AS paid
            FROM (SELECT id, merchant_uid, version, state FROM order_events
                  WHERE id > s.first AND id <= s.last ORDER BY id DESC LIMIT $2) AS e
                 LEFT JOIN LATERAL (SELECT state FROM order_events
                                    WHERE e.state = 'paid' AND merchant_uid = e.merchant_uid
                                      AND version = e.version - 1 OFFSET 0) AS b ON true) AS c
        ORDER BY s.since
        """,
        since,
        EVENTS_READ_MAX,
    )
    return [_span(**row) for row in rows]


def _span(since: datetime, ids: int, ids_read: int | None, changes: int, paid: int) -> Span:
    if changes < EVENTS_READ_MAX or not ids_read:
        return Span(since, changes, paid, estimated=False)
    share = ids / ids_read
    return Span(since, round(changes * share), round(paid * share), estimated=ids > ids_read)


async def longest_due(db: Connection) -> DueNotice | None:
    """Return the notice that has been due the longest, of those that name a registered order."""
    row = await db.fetchrow(
        """
        SELECT id::text, source, imp_uid, merchant_uid, extract(epoch FROM now() - due_at)::float8 AS due_seconds
        FROM ((SELECT * FROM notices WHERE lane = 0 AND due_at < now() ORDER BY due_at LIMIT 1)
              UNION ALL
              (SELECT * FROM notices WHERE lane = 1 AND due_at < now() ORDER BY due_at LIMIT 1)) AS due
        ORDER BY due_at LIMIT 1
        """
    )
    return DueNotice(**row) if row else None


async def waiting_orders(db: Connection) -> WaitingOrders:
    """Count the orders that wait for money, by the timetable of those that PortOne is asked about."""
    row = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE o.waits) AS waiting, count(*) AS read FROM (
            SELECT merchant_uid FROM order_checks WHERE next_check_at > '-infinity' LIMIT $1) c
        CROSS JOIN LATERAL (
            SELECT state = ANY($2::text[]) AND closed IS NULL AS waits
            FROM orders WHERE merchant_uid = c.merchant_uid OFFSET 0) o
        """,
        WAITING_READ_MAX,
        sorted(EXPIRES),
    )
    assert row is not None  # noqa: S101 - an aggregate gives one row
    return WaitingOrders(row["waiting"], row["read"] < WAITING_READ_MAX)


async def open_outcomes(db: Connection) -> dict[str, int]:
    """Count what the last look of open notices ended with, of those that are due first."""
    rows = await db.fetch(
        """
        SELECT last_outcome, count(*) AS notices FROM (
            SELECT last_outcome FROM notices WHERE due_at IS NOT NULL AND lane = 0 ORDER BY due_at LIMIT $1) AS due
        WHERE last_outcome IS NOT NULL GROUP BY last_outcome
        """,
        WAITING_READ_MAX,
    )
    return {row["last_outcome"]: row["notices"] for row in rows}
