"""Changes of terms in the tables `orders` and `order_events`: an order is amended or closed."""

from collections.abc import Sequence

import asyncpg

from service.db.orders import StoredOrder, columns
from service.db.pool import Connection
from service.domain.evidence import Evidence
from service.domain.order import EXPIRES


async def rewrite(db: Connection, before: StoredOrder, after: StoredOrder, evidence: Evidence) -> None:
    """Write a change of terms as one version and one event. The caller holds the order's lock.

    Reconciliation asks about the order again, because its last answers were judged by other terms.
    """
    command_tag = await db.execute(
        """
        WITH changed AS (
            UPDATE orders SET amount = $3, currency = $4, name = $5, metadata = $6, expires_at = $7, closed = $8,
                   state = $9, paid_amount = $10, cancelled_amount = $11, imp_uid = $12,
                   problems = $13, test_channel = $14,
                   next_check_at = coalesce(next_check_at, now()), version = version + 1, updated_at = now()
            WHERE merchant_uid = $1 AND version = $2
            RETURNING *
        )
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  imp_uid, problems, closed, test_channel, cause, facts, who, why)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               closed, test_channel, $15, $16, $17, $18
        FROM changed
        """,
        before.terms.merchant_uid,
        before.version,
        after.terms.amount,
        after.terms.currency,
        after.name,
        after.metadata,
        after.expires_at,
        after.terms.closed,
        *columns(after.settlement),
        evidence.cause,
        list(evidence.facts),
        evidence.who,
        evidence.why,
    )
    if command_tag != "INSERT 0 1":
        raise asyncpg.SerializationError("an order changed under its lock")


async def expirable(db: Connection, limit: int) -> list[str]:
    """Return orders that look due to expire, the longest due first. Lock them, then `expire` those that are."""
    rows = await db.fetch(
        """
        SELECT merchant_uid FROM orders
        WHERE closed IS NULL AND state IN ('pending', 'failed') AND expires_at <= now()
        ORDER BY expires_at LIMIT $1
        """,
        limit,
    )
    return [row["merchant_uid"] for row in rows]


async def expire(db: Connection, merchant_uids: Sequence[str]) -> list[str]:
    """Close those of the orders that are past their time, with a version and an event each. Hold their locks."""
    rows = await db.fetch(
        """
        WITH changed AS (
            UPDATE orders SET closed = 'expired', version = version + 1, updated_at = now()
            WHERE merchant_uid = ANY($1::text[])
              AND closed IS NULL AND state = ANY($2::text[]) AND expires_at <= now()
            RETURNING *
        )
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  imp_uid, problems, closed, test_channel, cause)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               closed, test_channel, 'expiry'
        FROM changed
        RETURNING merchant_uid
        """,
        merchant_uids,
        sorted(EXPIRES),
    )
    return [row["merchant_uid"] for row in rows]
