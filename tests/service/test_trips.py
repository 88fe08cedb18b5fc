"""A notice costs the worker few trips to Postgres (docs/decisions/0015-claim-and-write-in-one-trip-each.md)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from asyncpg.connection import LoggedQuery

from service.db import notices
from service.db.pool import Pool, in_statement
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.usecases.verification import Verifier
from tests.sandbox_client import RunningSandbox
from tests.service import stored


@asynccontextmanager
async def _counted(pool: Pool) -> AsyncIterator[list[str]]:
    """Collect the statements sent on any connection of the pool. Each is a trip."""
    statements: list[str] = []

    def note(record: LoggedQuery) -> None:
        # Once a connection, asyncpg asks for the types of a function's parameters, with jit switched off.
        if "jit" not in record.query and "pg_catalog" not in record.query:
            statements.append(record.query)

    connections = [await pool.acquire() for _ in range(pool.get_max_size())]
    for connection in connections:
        connection.add_query_logger(note)
    for connection in connections:
        await pool.release(connection)
    yield statements


async def _record(pool: Pool, imp_uids: Sequence[str]) -> list[UUID]:
    webhooks = [
        Notice(new_notice_id(), Source.WEBHOOK, imp_uid, f"order-{number}", claimed_status="paid")
        for number, imp_uid in enumerate(imp_uids)
    ]
    return await in_statement(pool, notices.record, webhooks, Timetable().queued)


@pytest.mark.parametrize("count", [1, 50])
async def test_a_payment_that_nobody_has_seen_costs_two(
    verifier: Verifier, sandbox: RunningSandbox, pool: Pool, count: int
) -> None:
    """A new payment costs two trips, one to claim and one to write, also in a batch."""
    for number in range(count):
        await stored.register_order(pool, f"order-{number}")
    payments = await sandbox.control("POST", "bulk", count=count, prefix="order", amount=64900, force=True)
    ids = await _record(pool, payments["imp_uids"])
    async with _counted(verifier.pool) as statements:
        assert len((await verifier.verify(ids)).changes) == count
    assert [_name(statement) for statement in statements] == ["claim_notices_v3", "write_looks_v2"]
    assert await pool.fetchval("SELECT count(*) FROM order_events WHERE state = 'paid' AND version = 2") == count


async def test_a_later_notice_goes_the_way_under_the_locks(
    verifier: Verifier, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A refund of a stored payment is decided under the locks, with at most seven trips."""
    await stored.register_order(pool, "order-0")
    imp_uid: str = (await sandbox.pay("order-0", 64900, webhook=False))["imp_uid"]
    await verifier.verify(await _record(pool, [imp_uid]))
    await pool.execute("TRUNCATE last_looks")
    await sandbox.move(imp_uid, "cancel", webhook=False)
    cancelled = Notice(new_notice_id(), Source.WEBHOOK, imp_uid, "order-0", claimed_status="cancelled")
    await in_statement(pool, notices.record, [cancelled], Timetable().queued)
    async with _counted(verifier.pool) as statements:
        await verifier.verify([cancelled.id])
    assert len(statements) <= 7
    assert await stored.events(pool, "order-0") == [(1, "pending"), (2, "paid"), (3, "cancelled")]


def _name(statement: str) -> str:
    return next((name for name in ("claim_notices_v3", "write_looks_v2") if name in statement), statement)
