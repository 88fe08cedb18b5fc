"""Locks are taken in one order everywhere: a transaction that waits for the first lock holds no other."""

import asyncio
from functools import partial

from service.db import orders
from service.db.pool import Connection, Pool
from tests.running import until

_TRIES = 10


async def test_whoever_waits_for_the_first_order_holds_no_other(pool: Pool) -> None:
    """Locks of several orders are taken sorted, so that two transactions cannot wait for each other."""
    for number in range(_TRIES):
        names = [f"order-{number}-{letter}" for letter in "abcd"]
        first = await pool.fetchval("SELECT m FROM unnest($1::text[]) AS m ORDER BY hashtext(m) LIMIT 1", names)
        async with pool.acquire() as holder, pool.acquire() as waiter:
            pid = waiter.get_server_pid()
            async with holder.transaction():
                await orders.lock(holder, [first])
                waiting = asyncio.create_task(_lock(waiter, names if number % 2 else names[::-1]))
                await until(partial(_waits, pool, pid))
                held = await pool.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = $1", pid
                )
                assert held == 0
            await waiting


async def _lock(waiter: Connection, names: list[str]) -> None:
    async with waiter.transaction():
        await orders.lock(waiter, names)


async def _waits(pool: Pool, pid: int) -> bool:
    waits: bool = await pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $1)", pid)
    return waits
