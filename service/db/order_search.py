"""Searching orders for a person: by what a text names, by number, and by the newest change.

Each page reads a bounded number of rows, by an index that is there for something else: settling must touch no index of
`orders` (docs/decisions/0019-give-the-orders-timetable-a-table-of-its-own.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from service.db import problems
from service.db.pool import Connection
from service.db.problems import OpenProblem

# One page walks at most this many events; it takes Postgres some 15 ms, all in its memory.
EVENTS_MAX = 20_000
_NUMBERS_MAX = 2_000
_NAMED_MAX = 20
# An event's time is when its transaction began, a little before its id was drawn.
_TRANSACTION_MAX = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """An order as a list shows it. `at` is the time of its last change; amounts are in the smallest unit.

    `problems` are the kinds of those that are open, `resolved` of those that a person has resolved.
    """

    merchant_uid: str
    state: str
    closed: str | None
    amount: int
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: tuple[str, ...]
    resolved: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderSearch:
    """The conditions on the orders of a search; None: any. An `amount` is in the smallest unit of its currency.

    `open_only`: not those that are closed. `became`: an order stands at each event by which it came to this state,
    whatever has become of it since.
    """

    states: Sequence[str] | None = None
    amount: int | None = None
    currency: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    open_only: bool = False
    became: str | None = None


@dataclass(frozen=True, slots=True)
class FoundPage:
    """The orders of one page. `next`: the event before which the search goes on; None: it is at its end.

    `back_to`: the time of the last event that was read.
    """

    orders: list[FoundOrder]
    next: int | None
    back_to: datetime | None


async def named(db: Connection, text: str) -> list[str]:
    """Return the order numbers that a text names: as one, or by the imp_uid of a payment or of a notice.

    A number that nobody registered is one if a payment or a notice that waits or is parked names it.
    """
    rows = await db.fetch(
        """
        SELECT merchant_uid FROM orders WHERE merchant_uid = $1
        UNION (SELECT $1 WHERE EXISTS (
            SELECT FROM payments WHERE merchant_uid = $1 AND (status <> 'ready' OR lesser IS NOT NULL)))
        UNION (SELECT $1 WHERE EXISTS (SELECT FROM unreadable_payments WHERE merchant_uid = $1))
        UNION (SELECT $1 WHERE EXISTS (SELECT FROM notices WHERE merchant_uid = $1 AND parked_at IS NOT NULL))
        UNION (SELECT $1 WHERE EXISTS (
            SELECT FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS l (lane) CROSS JOIN LATERAL (
                SELECT merchant_uid FROM notices WHERE lane = l.lane AND due_at IS NOT NULL
                ORDER BY due_at LIMIT $3) d
            WHERE d.merchant_uid = $1))
        UNION (SELECT merchant_uid FROM payments WHERE imp_uid = $1)
        UNION (SELECT merchant_uid FROM unreadable_payments WHERE imp_uid = $1 AND merchant_uid IS NOT NULL)
        UNION (SELECT merchant_uid FROM notices WHERE imp_uid = $1 AND merchant_uid IS NOT NULL LIMIT $2)
        UNION (SELECT merchant_uid FROM refunds WHERE imp_uid = $1)
        LIMIT $2
        """,
        text,
        _NAMED_MAX,
        _NUMBERS_MAX,
    )
    return [row["merchant_uid"] for row in rows]


async def numbered(db: Connection, beginning: str, after: str, limit: int) -> list[FoundOrder]:
    """Return the next orders whose numbers begin so, sorted by number."""
    rows = await db.fetch(
        """
        SELECT merchant_uid FROM (
            SELECT merchant_uid FROM orders WHERE merchant_uid >= $1 AND merchant_uid > $2
            ORDER BY merchant_uid LIMIT $4) o
        WHERE starts_with(merchant_uid, $1) ORDER BY merchant_uid LIMIT $3
        """,
        beginning,
        after,
        limit,
        _NUMBERS_MAX,
    )
    return await of_numbers(db, [row["merchant_uid"] for row in rows])


async def of_numbers(db: Connection, merchant_uids: Sequence[str]) -> list[FoundOrder]:
    """Return those of the orders that are registered, sorted by number."""
    rows = await db.fetch(
        """
        SELECT merchant_uid, state, closed, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               updated_at AS at
        FROM orders WHERE merchant_uid = ANY($1::text[]) ORDER BY merchant_uid
        """,
        list(merchant_uids),
    )
    return await _found(db, rows)


async def newest(db: Connection, search: OrderSearch, before: int | None, limit: int) -> FoundPage:
    """Return orders by their last change, the newest first, from the event before this one on; None: from the newest.

    An order stands at its newest event, and at no other unless the search has `became`. A page may be short, or empty,
    before the end.
    """
    after, before = await _range(db, search, before)
    rows = await db.fetch(
        """
        SELECT e.id, e.at, o.* FROM (
            SELECT * FROM order_events WHERE id < $1::bigint AND id > $2::bigint ORDER BY id DESC LIMIT $5) e
        CROSS JOIN LATERAL (
            SELECT merchant_uid, state, closed, amount, currency, paid_amount, cancelled_amount, imp_uid, problems
            FROM orders WHERE merchant_uid = e.merchant_uid AND (version = e.version OR e.state = $9::text) OFFSET 0) o
        LEFT JOIN LATERAL (
            SELECT state FROM order_events
            WHERE e.state = $9 AND merchant_uid = e.merchant_uid AND version = e.version - 1 OFFSET 0) b ON true
        WHERE ($3::text[] IS NULL OR e.state = ANY($3)) AND ($4::bigint IS NULL OR e.amount = $4)
          AND ($7::text IS NULL OR e.currency = $7) AND NOT ($8 AND e.closed IS NOT NULL)
          AND ($10::timestamptz IS NULL OR e.at >= $10)
          AND ($9 IS NULL OR e.state = $9 AND b.state IS DISTINCT FROM $9)
        ORDER BY e.id DESC LIMIT $6
        """,
        before,
        after,
        search.states,
        search.amount,
        EVENTS_MAX,
        limit,
        search.currency,
        search.open_only,
        search.became,
        search.since,
    )
    orders = await _found(db, rows)
    if len(rows) == limit:
        return FoundPage(orders, rows[-1]["id"], rows[-1]["at"])
    last = await db.fetchrow(
        "SELECT id, at FROM order_events WHERE id < $1 AND id > $2 ORDER BY id DESC OFFSET $3 - 1 LIMIT 1",
        before,
        after,
        EVENTS_MAX,
    )
    return FoundPage(orders, last["id"], last["at"]) if last else FoundPage(orders, None, None)


async def _range(db: Connection, search: OrderSearch, before: int | None) -> tuple[int, int]:
    """Return the ids between which the search's events lie, both left out."""
    after = 0
    if search.since is not None:
        after = await db.fetchval("SELECT last_event_before_v1($1)", search.since - _TRANSACTION_MAX)
    if before is not None:
        return after, before
    if search.until is not None:
        until: int = await db.fetchval("SELECT last_event_before_v1($1)", search.until)
        return after, until + 1
    return after, 2**63 - 1


async def _found(db: Connection, rows: Sequence[asyncpg.Record]) -> list[FoundOrder]:
    """Return the orders of these rows, each with its problems: those that are open, and those that are resolved."""
    with_problems = [row["merchant_uid"] for row in rows if row["problems"]]
    found = await problems.of_numbers(db, with_problems, resolved=True) if with_problems else []
    of_order: dict[str | None, list[OpenProblem]] = {}
    for problem in found:
        of_order.setdefault(problem.merchant_uid, []).append(problem)
    return [_order(row, of_order.get(row["merchant_uid"], ())) for row in rows]


def _order(row: asyncpg.Record, found: Sequence[OpenProblem]) -> FoundOrder:
    fields: dict[str, Any] = {name: row[name] for name in FoundOrder.__slots__ if name not in ("problems", "resolved")}
    open_kinds = dict.fromkeys(problem.kind for problem in found if not problem.resolved)
    resolved = dict.fromkeys(problem.kind for problem in found if problem.resolved and problem.kind not in open_kinds)
    return FoundOrder(**fields, problems=tuple(open_kinds), resolved=tuple(resolved))
