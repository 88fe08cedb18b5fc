"""The table `notices` for people: lists and a replay, for `portone-orders notices`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.db.pool import Connection
from service.domain.payment import Store


@dataclass(frozen=True, slots=True)
class Shown:
    """A notice as a person reads it."""

    id: UUID
    source: str
    imp_uid: str
    merchant_uid: str | None
    account: str | None
    tier: str | None
    claimed_status: str | None
    received_at: datetime
    arrivals: int
    tries: int
    state: str
    last_outcome: str | None
    payment_status: str | None
    payment_amount: int | None
    payment_currency: str | None


_SHOWN = """
    SELECT n.id, n.source, n.imp_uid, coalesce(p.merchant_uid, n.merchant_uid) AS merchant_uid, n.account, n.tier,
           n.claimed_status, n.received_at, n.arrivals, n.tries, n.last_outcome,
           CASE WHEN n.parked_at IS NOT NULL THEN 'parked' WHEN n.handled_at IS NOT NULL THEN 'handled' ELSE 'open' END
             AS state,
           p.status AS payment_status, p.amount AS payment_amount, p.currency AS payment_currency
    FROM notices n LEFT JOIN payments p USING (imp_uid)
"""


async def parked(db: Connection, limit: int) -> list[Shown]:
    """Return the notices that wait for a person, the longest parked first."""
    rows = await db.fetch(_SHOWN + "WHERE n.parked_at IS NOT NULL ORDER BY n.parked_at LIMIT $1", limit)
    return [Shown(**row) for row in rows]


async def waiting(db: Connection, limit: int) -> list[Shown]:
    """Return the notices that are still open, the next due first."""
    rows = await db.fetch(_SHOWN + "WHERE n.due_at IS NOT NULL ORDER BY n.due_at LIMIT $1", limit)
    return [Shown(**row) for row in rows]


async def count_by_store(db: Connection) -> dict[Store, int]:
    """Return how many open or parked notices there are of each account and tier that a notice names."""
    rows = await db.fetch(
        """
        SELECT coalesce(account, 'default') AS account, coalesce(tier, '') AS tier, count(*)
        FROM notices WHERE due_at IS NOT NULL OR parked_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
        """
    )
    return {Store(row["account"], row["tier"]): row["count"] for row in rows}


async def about(db: Connection, name: str, limit: int) -> list[Shown]:
    """Return the notices with this id, or about this imp_uid, the newest first."""
    rows = await db.fetch(
        _SHOWN + "WHERE n.id::text = $1 OR n.imp_uid = $1 ORDER BY n.received_at DESC LIMIT $2", name, limit
    )
    return [Shown(**row) for row in rows]


async def replay(db: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Make these notices due now, as if they had just come; return those that exist.

    One that then claims what an open one does is looked for with it.
    """
    rows = await db.fetch("SELECT id FROM notices WHERE id = ANY($1::uuid[])", ids)
    for row in rows:
        try:
            async with db.transaction():
                await db.execute(
                    """
                    UPDATE notices SET due_at = now(), claimed_until = NULL, tries = 0, received_at = now(),
                           last_outcome = NULL, claimed_status = NULL, handled_at = NULL, parked_at = NULL
                    WHERE id = $1
                    """,
                    row["id"],
                )
        except asyncpg.UniqueViolationError:
            continue
    return [row["id"] for row in rows]
