"""Connections that one user leaves to the next come back to asyncpg's pool when it closes."""

import asyncio

from service.db.pool import open_pool


async def test_a_connection_in_use_comes_back_to_a_pool_that_closes(database_url: str) -> None:
    """A pool that is closed while a connection is in use ends once its user is done."""
    pool = await open_pool(database_url, 2)
    async with pool.acquire() as connection:
        closing = asyncio.create_task(pool.close())
        while not pool.is_closing():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        await connection.fetchval("SELECT 1")
    async with asyncio.timeout(20):
        await closing
