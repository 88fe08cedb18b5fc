"""Changes of terms in the tables `orders` and `order_events`: an order is amended or closed."""

from datetime import datetime, timedelta

import asyncpg

from service.db import order_checks
from service.db.orders import StoredOrder, columns
from service.db.pool import Connection
from service.domain.evidence import Evidence
from service.domain.order import Closed


async def rewrite(db: Connection, before: StoredOrder, after: StoredOrder, evidence: Evidence) -> None:
    """Write a change of terms as one version and one event. The caller holds the order's lock.

    Reconciliation asks about the order again, because its last answers were judged by other terms, but not about one
    that expired: that was its end.
    """
    command_tag = await db.execute(
        """
        WITH changed AS (
            UPDATE orders SET amount = $3, currency = $4, name = $5, metadata = $6, expires_at = $7, closed = $8,
                   state = $9, paid_amount = $10, cancelled_amount = $11, imp_uid = $12,
                   problems = $13, test_channel = $14, registered_amount = $19,
                   version = version + 1, updated_at = now()
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
        after.registered_amount,
    )
    if command_tag != "INSERT 0 1":
        raise asyncpg.SerializationError("an order changed under its lock")
    if after.terms.closed is Closed.EXPIRED:
        await order_checks.end(db, after.terms.merchant_uid)
    else:
        await order_checks.ask_by(db, after.terms.merchant_uid, timedelta(), after.expires_at)


async def now(db: Connection) -> datetime:
    """Return the time by Postgres' clock, which all deadlines go by."""
    at: datetime = await db.fetchval("SELECT clock_timestamp()")
    return at
