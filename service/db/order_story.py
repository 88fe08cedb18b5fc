"""The story of an order, read across tables: all its payments, and the notices that still wait."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payment of the order, and who gave the first notice of it that is still stored."""

    imp_uid: str
    status: str
    amount: int
    currency: str
    cancelled_amount: int
    live: bool
    tier: str
    first_source: str | None
    first_at: datetime | None


@dataclass(frozen=True, slots=True)
class WaitingNotice:
    """A notice about the order that is due or parked."""

    id: UUID
    source: str
    imp_uid: str | None
    received_at: datetime
    tries: int
    outcome: str | None
    parked: bool


async def attempts(db: Connection, merchant_uid: str) -> list[Attempt]:
    """Return the order's payments, the oldest first."""
    rows = await db.fetch(
        """
        SELECT p.imp_uid, p.status, p.amount, p.currency, p.cancelled_amount, p.live, p.tier,
               n.source AS first_source, n.received_at AS first_at
        FROM payments p LEFT JOIN LATERAL (SELECT source, received_at FROM notices
                                           WHERE imp_uid = p.imp_uid ORDER BY id LIMIT 1) n ON true
        WHERE p.merchant_uid = $1 ORDER BY p.started_at, p.imp_uid
        """,
        merchant_uid,
    )
    return [Attempt(**row) for row in rows]


async def waiting(db: Connection, merchant_uid: str, limit: int) -> list[WaitingNotice]:
    """Return the notices about the order, or about its payments, that have not been handled, the oldest first."""
    rows = await db.fetch(
        """
        SELECT id, source, imp_uid, received_at, tries, last_outcome AS outcome, parked_at IS NOT NULL AS parked
        FROM notices
        WHERE (due_at IS NOT NULL OR parked_at IS NOT NULL)
          AND (merchant_uid = $1 OR imp_uid IN (SELECT imp_uid FROM payments WHERE merchant_uid = $1))
        ORDER BY id LIMIT $2
        """,
        merchant_uid,
        limit,
    )
    return [WaitingNotice(**row) for row in rows]
