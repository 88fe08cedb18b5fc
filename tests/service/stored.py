"""Read the stored rows without the service, because a test asserts the rows and not only the answers."""

from datetime import datetime
from typing import Any

import asyncpg

from service.db.notices import record
from service.db.orders import NewOrder
from service.db.pool import Pool, in_statement
from service.domain.notice import Notice, Source
from service.domain.order import Order
from service.domain.payment import Store
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.usecases.coalescing import BatchBounds
from service.usecases.registration import Registration
from service.usecases.verification import Verifier

DEFAULT = Store("default")


async def register_order(
    pool: Pool, merchant_uid: str, amount: int = 64900, currency: str = "KRW", *, store: Store = DEFAULT, **rest: Any
) -> None:
    """Register an order as the receiver does, without a receiver."""
    order = NewOrder(Order(merchant_uid, amount, currency, store), **rest)
    await Registration(pool, Timetable(), BatchBounds(1)).register(order)


async def events(pool: Pool, merchant_uid: str) -> list[tuple[int, str]]:
    """Return the order's events as (version, state), in order."""
    rows = await pool.fetch("SELECT version, state FROM order_events WHERE merchant_uid = $1 ORDER BY id", merchant_uid)
    return [(row["version"], row["state"]) for row in rows]


async def order(pool: Pool, merchant_uid: str) -> asyncpg.Record:
    row = await pool.fetchrow("SELECT * FROM orders WHERE merchant_uid = $1", merchant_uid)
    assert row is not None, f"{merchant_uid} is not registered"
    return row


async def next_check_at(pool: Pool, merchant_uid: str) -> datetime | None:
    """Return when reconciliation asks about the order next, or None: no more."""
    at: datetime | None = await pool.fetchval(
        "SELECT next_check_at FROM order_checks WHERE merchant_uid = $1", merchant_uid
    )
    return at


async def payment(pool: Pool, imp_uid: str) -> asyncpg.Record | None:
    return await pool.fetchrow("SELECT * FROM payments WHERE imp_uid = $1", imp_uid)


async def notices(pool: Pool, imp_uid: str) -> list[asyncpg.Record]:
    return await pool.fetch("SELECT * FROM notices WHERE imp_uid = $1 ORDER BY id", imp_uid)


async def count(pool: Pool, table: str) -> int:
    rows: int = await pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - the test names the table
    return rows


async def problems(pool: Pool, merchant_uid: str) -> list[tuple[str, str]]:
    """Return the order's open problems as (kind, imp_uid)."""
    stored_problems: list[dict[str, Any]] = (await order(pool, merchant_uid))["problems"]
    return [(problem["kind"], problem["imp_uid"]) for problem in stored_problems]


async def never_paid(pool: Pool) -> bool:
    """Return whether no order and no event has ever said `paid`."""
    never: bool = await pool.fetchval(
        "SELECT NOT EXISTS (SELECT FROM orders WHERE state = 'paid' OR paid_amount > 0)"
        " AND NOT EXISTS (SELECT FROM order_events WHERE state = 'paid' OR paid_amount > 0)"
    )
    return never


async def waiting_for_locks(pool: Pool) -> int:
    """Return how many sessions of the test's database wait for a lock."""
    waiting: int = await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return waiting


async def waits_for_a_lock(pool: Pool) -> bool:
    """Return whether any session of the test's database waits for a lock."""
    return await waiting_for_locks(pool) > 0


async def deadlocks(pool: Pool) -> int:
    """Return how many deadlocks Postgres has resolved in this database, also those hidden by a retry."""
    await pool.execute("SELECT pg_stat_force_next_flush()")
    count: int = await pool.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return count


async def look(pool: Pool, verifier: Verifier, imp_uid: str, merchant_uid: str) -> None:
    """Record a webhook of this payment, and look."""
    notice = Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, claimed_status="paid")
    await verifier.verify(await in_statement(pool, record, [notice], Timetable().queued))
