"""Lists of orders: a walk reads a bounded number of rows for each page, whatever its filters leave.

Settling must touch no index of `orders` (docs/decisions/0019-give-the-orders-timetable-a-table-of-its-own.md), so there
is none for a filter. A walk goes by what exists: the orders' numbers, the orders with problems, or the events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson

from service.db.pool import Connection

# One page walks at most this many rows, each of which it reads two or three times if hardly any order fits: then it
# takes Postgres 25 to 40 ms among a million orders, all in its memory.
ROWS_MAX = 2_000
# An event's time is when its transaction began: more than any of ours lasts before it draws the event's id.
_TRANSACTION_MAX = timedelta(minutes=1)

# Where a walk goes on: behind an order's number, or behind an event's id.
Place = str | int


@dataclass(frozen=True, slots=True)
class Filters:
    """The conditions on the orders of a list; None: any. `closed` has the word `none` for open orders.

    `problems` has kinds of problem; empty: any kind. `merchant_uids`: only these orders.
    """

    states: Sequence[str] | None = None
    problems: Sequence[str] | None = None
    closed: Sequence[str] | None = None
    account: str | None = None
    tier: str | None = None
    updated_since: datetime | None = None
    merchant_uids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Walked:
    """The orders of one page, and the place where the walk goes on; None: it is at its end."""

    merchant_uids: list[str]
    next: Place | None


async def first_place(db: Connection, filters: Filters) -> Place:
    """Return where the walk of these filters begins."""
    if not walks_events(filters):
        return ""
    assert filters.updated_since is not None  # noqa: S101 - else it walks no events
    since = filters.updated_since - _TRANSACTION_MAX
    place: int = await db.fetchval("SELECT last_event_before_v1($1)", since)
    return place


def walks_events(filters: Filters) -> bool:
    """Return whether the walk goes by the events, so that its places are their ids."""
    return filters.updated_since is not None and filters.merchant_uids is None and filters.problems is None


async def walk(db: Connection, filters: Filters, place: Place, limit: int) -> Walked:
    """Return the next page behind the place. It has at most `limit` orders, and perhaps none though more follow."""
    if filters.merchant_uids is not None:
        row = await _walk_named(db, filters, place, limit)
    elif filters.problems is not None:
        row = await _walk_problems(db, filters, place, limit)
    elif walks_events(filters):
        row = await _walk_events(db, filters, place, limit)
    else:
        row = await _walk_all(db, filters, place, limit)
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return Walked(row["found"], row["last"])


async def _walk_all(db: Connection, filters: Filters, place: Place, limit: int) -> asyncpg.Record | None:
    return await db.fetchrow(
        """
        WITH page AS MATERIALIZED (
            SELECT o.merchant_uid AS place FROM (
                SELECT * FROM orders WHERE merchant_uid > $1::text ORDER BY merchant_uid LIMIT $9) o
            WHERE order_fits_v1(o, $3, $4::text[]::jsonb[], $5, $6, $7, $8) ORDER BY o.merchant_uid LIMIT $2
        )
        SELECT ARRAY(SELECT place FROM page ORDER BY place) AS found,
               CASE WHEN (SELECT count(*) FROM page) = $2 THEN (SELECT max(place) FROM page)
                    ELSE (SELECT merchant_uid FROM orders WHERE merchant_uid > $1 ORDER BY merchant_uid
                          OFFSET $9 - 1 LIMIT 1) END AS last
        """,
        *_columns(filters, place, limit),
        ROWS_MAX,
    )


async def _walk_problems(db: Connection, filters: Filters, place: Place, limit: int) -> asyncpg.Record | None:
    return await db.fetchrow(
        """
        WITH page AS MATERIALIZED (
            SELECT o.merchant_uid AS place FROM (
                SELECT * FROM orders WHERE problems <> '[]'::jsonb AND merchant_uid > $1::text
                ORDER BY merchant_uid LIMIT $9) o
            WHERE order_fits_v1(o, $3, $4::text[]::jsonb[], $5, $6, $7, $8) ORDER BY o.merchant_uid LIMIT $2
        )
        SELECT ARRAY(SELECT place FROM page ORDER BY place) AS found,
               CASE WHEN (SELECT count(*) FROM page) = $2 THEN (SELECT max(place) FROM page)
                    ELSE (SELECT merchant_uid FROM orders WHERE problems <> '[]'::jsonb AND merchant_uid > $1
                          ORDER BY merchant_uid OFFSET $9 - 1 LIMIT 1) END AS last
        """,
        *_columns(filters, place, limit),
        ROWS_MAX,
    )


async def _walk_events(db: Connection, filters: Filters, place: Place, limit: int) -> asyncpg.Record | None:
    """Walk the events by id. An order stands at its newest event, and at no other."""
    return await db.fetchrow(
        """
        WITH page AS MATERIALIZED (
            SELECT e.id AS place, o.merchant_uid FROM (
                SELECT id, merchant_uid, version FROM order_events WHERE id > $1::bigint ORDER BY id LIMIT $9) e
            CROSS JOIN LATERAL (
                SELECT * FROM orders WHERE merchant_uid = e.merchant_uid AND version = e.version OFFSET 0) o
            WHERE order_fits_v1(o, $3, $4::text[]::jsonb[], $5, $6, $7, $8) ORDER BY e.id LIMIT $2
        )
        SELECT ARRAY(SELECT merchant_uid FROM page ORDER BY place) AS found,
               CASE WHEN (SELECT count(*) FROM page) = $2 THEN (SELECT max(place) FROM page)
                    ELSE (SELECT id FROM order_events WHERE id > $1 ORDER BY id OFFSET $9 - 1 LIMIT 1) END AS last
        """,
        *_columns(filters, place, limit),
        ROWS_MAX,
    )


async def _walk_named(db: Connection, filters: Filters, place: Place, limit: int) -> asyncpg.Record | None:
    return await db.fetchrow(
        """
        WITH page AS MATERIALIZED (
            SELECT o.merchant_uid AS place FROM orders o
            WHERE o.merchant_uid = ANY($9::text[]) AND o.merchant_uid > $1::text
              AND order_fits_v1(o, $3, $4::text[]::jsonb[], $5, $6, $7, $8)
            ORDER BY o.merchant_uid LIMIT $2
        )
        SELECT ARRAY(SELECT place FROM page ORDER BY place) AS found,
               CASE WHEN (SELECT count(*) FROM page) = $2 AND $2 < cardinality($9)
                    THEN (SELECT max(place) FROM page) END AS last
        """,
        *_columns(filters, place, limit),
        filters.merchant_uids,
    )


def _columns(filters: Filters, place: Place, limit: int) -> tuple[Any, ...]:
    return (
        place,
        limit,
        filters.states,
        _patterns(filters.problems),
        filters.closed,
        filters.account,
        filters.tier,
        filters.updated_since,
    )


def _patterns(kinds: Sequence[str] | None) -> list[str] | None:
    """Return JSON that an order's problems must contain, for each kind; asyncpg takes lists in a list for a table."""
    if kinds is None:
        return None
    return [orjson.dumps([{"kind": kind}]).decode() for kind in kinds] or ["[{}]"]
