"""The pool follows the primary: through a promotion, away from a demoted one, without a restart."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from faults.postgres_pair import PostgresPair
from service.database_url import Demoted
from service.db.pool import Connection, Pool, in_statement, open_pool
from service.db.servers import Servers
from service.errors import PostgresUnavailable
from tests.running import until

_DEMOTED_ANSWERS_ALONE = "ALTER SYSTEM SET synchronous_standby_names = ''"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[PostgresPair]:
    """A primary and its synchronous standby."""
    servers = PostgresPair(tmp_path, scratch=True)
    try:
        await servers.start()
        yield servers
    finally:
        await servers.stop()


async def _write(db: Connection, number: int) -> None:
    await db.execute("INSERT INTO written VALUES ($1)", number)


class Writer:
    """Writes numbers through a pool, one after the other, and keeps those that were answered."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._next = pool, 0
        self.answered: list[int] = []

    async def write(self) -> bool:
        """Write the next number. Returns whether Postgres has answered that it is kept."""
        self._next += 1
        with contextlib.suppress(PostgresUnavailable):
            await in_statement(self._pool, _write, self._next)
            self.answered.append(self._next)
            return True
        return False


async def test_a_promotion_while_the_old_primary_goes_on(pair: PostgresPair) -> None:
    """The pool follows the promoted standby, loses nothing that was answered, and refuses the demoted primary.

    The two cannot reach each other, and the demoted one still takes writes, its own and of whoever does not look.
    """
    ports = pair.ports
    demoted = pair.url()
    pool, writer = await open_pool(pair.url_through(ports), size=2), None
    direct = await asyncpg.connect(demoted)
    try:
        await pool.execute("CREATE TABLE written (number int PRIMARY KEY)")
        writer = Writer(pool)
        assert all([await writer.write() for _ in range(20)])
        pair.links[pair.standby].go_half_open()
        hanging = asyncio.create_task(writer.write())
        await pair.promote()
        await until(writer.write)
        assert not await hanging
        await direct.execute(_DEMOTED_ANSWERS_ALONE)
        await direct.execute("SELECT pg_reload_conf()")
        await direct.execute("INSERT INTO written VALUES (-1)")
        assert all([await writer.write() for _ in range(20)])
        async with pool.acquire() as connection:
            stored = {row["number"] for row in await connection.fetch("SELECT number FROM written")}
        assert set(writer.answered) <= stored
        assert -1 not in stored
        with pytest.raises(Demoted):
            await Servers(demoted).connect(timeout=5)
    finally:
        direct.terminate()
        await pool.close()


async def test_a_connection_to_a_server_that_takes_no_writes_is_not_kept(pool: Pool) -> None:
    """A write that is refused as read-only ends its connection, so the next one goes to whoever is the primary."""
    async with pool.acquire() as connection:
        await connection.execute("CREATE TABLE written (number int PRIMARY KEY)")
        await connection.execute("SET default_transaction_read_only = on")
    writer = Writer(pool)
    assert [await writer.write(), await writer.write()] == [False, True]
