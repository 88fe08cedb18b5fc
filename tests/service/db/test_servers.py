"""The pool follows the primary: through a promotion, away from a demoted one, without a restart."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from faults.postgres_pair import PostgresPair
from service.database_url import Demoted, NoPrimary
from service.db import notices, processes
from service.db.migrate import migrate
from service.db.pool import Connection, Pool, in_statement, open_pool
from service.db.processes import Report
from service.db.servers import Servers
from service.errors import PostgresUnavailable
from service.usecases.standby_reads import Beats, StandbyReads
from tests.ports import own_port
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


async def _write_notice(db: Connection) -> UUID:
    notice_id: UUID = await db.fetchval(
        "INSERT INTO notices (id, source, imp_uid, registered, due_at)"
        " VALUES (gen_random_uuid(), 'webhook', 'imp_1', false, now()) RETURNING id"
    )
    return notice_id


async def _ends(work: Awaitable[None]) -> bool:
    """Return whether the work ends, and does not wait for the standby."""
    try:
        async with asyncio.timeout(0.3):
            await work
    except TimeoutError:
        return False
    return True


async def _numbers(db: Connection) -> set[int]:
    return {row["number"] for row in await db.fetch("SELECT number FROM written")}


class Standby:
    """A standby that is read, and the reports of one process that date its data."""

    def __init__(self, pair: PostgresPair, primary: Pool, pool: Pool) -> None:
        self._primary, self._pair, self._beats = primary, pair, Beats()
        self._reads = StandbyReads(pool, self._beats, age_max_seconds=60.0)

    async def report(self) -> None:
        sent = time.monotonic()
        report = Report(self._beats.id, "receiver", "host", 1, "1.0", datetime.now(UTC), None, None, {}, {}, {})
        self._beats.keep(await in_statement(self._primary, processes.report, report), sent)

    async def has(self, number: int) -> bool:
        dated = await self._reads.read(60.0, _numbers)
        return dated is not None and number in dated.value and dated.age_seconds > 0

    async def pause(self) -> None:
        """Let it take everything in, and show nothing of it."""
        async with self._pair.session(self._pair.standby) as session:
            await session.execute("SELECT pg_wal_replay_pause()")

    async def is_too_old(self) -> bool:
        """Return whether the standby is known to be older than a second."""
        return await self._reads.read(1.0, _numbers) is None


async def _check_standby(pair: PostgresPair, pool: Pool, writer: Writer) -> None:
    """Check that a standby answers with what it is shown to have, and not any more once its replay is paused."""
    standby_pool = await open_pool(pair.servers[pair.standby].url(), 1, reads_only=True)
    standby = Standby(pair, pool, standby_pool)
    try:
        await writer.write()
        await standby.report()
        await until(lambda: standby.has(writer.answered[-1]))
        await standby.pause()
        await standby.report()
        await until(standby.is_too_old)
        await writer.write()
        assert not await standby.has(writer.answered[-1])
    finally:
        await standby_pool.close()


async def test_a_standby_answers_and_takes_over(pair: PostgresPair) -> None:
    """A standby is read while it is recent. After its promotion the pool follows it, and nothing answered is lost.

    The two cannot reach each other then, and the demoted primary still takes writes of whoever does not look.
    """
    demoted = pair.url()
    await migrate(demoted)
    pool, direct = await open_pool(pair.url_through(pair.ports), size=2), await asyncpg.connect(demoted)
    try:
        await pool.execute("CREATE TABLE written (number int PRIMARY KEY)")
        writer = Writer(pool)
        await _check_standby(pair, pool, writer)
        with pytest.raises(NoPrimary):
            await Servers(pair.servers[pair.standby].url()).connect(timeout=5)
        assert all([await writer.write() for _ in range(20)])
        notice_id = await in_statement(pool, _write_notice)
        pair.links[pair.standby].go_half_open()
        assert not await _ends(in_statement(pool, _write, -2))
        # Its row can be seen, but only a standby that follows makes it safe.
        assert not await _ends(in_statement(pool, notices.confirm, [notice_id]))
        hanging = asyncio.create_task(writer.write())
        await pair.promote()
        await until(writer.write)
        assert not await hanging
        # Nobody waits for that commit any more, and the demoted primary still shows it to nobody.
        assert -2 not in await _numbers(direct)
        await direct.execute(_DEMOTED_ANSWERS_ALONE)
        await direct.execute("SELECT pg_reload_conf()")
        await direct.execute("INSERT INTO written VALUES (-1)")
        assert all([await writer.write() for _ in range(20)])
        stored = await in_statement(pool, _numbers)
        assert set(writer.answered) <= stored
        assert -1 not in stored
        with pytest.raises(Demoted):
            await Servers(demoted).connect(timeout=5)
    finally:
        direct.terminate()
        await pool.close()


async def test_a_pool_that_nobody_uses_leaves_a_demoted_primary(pair: PostgresPair) -> None:
    """A connection that idles ends soon after a promotion: the next read is of the new primary's rows."""
    pool = await open_pool(pair.url_through(pair.ports), size=2)
    try:
        await pool.execute("CREATE TABLE written (number int PRIMARY KEY)")
        pair.links[pair.standby].go_half_open()
        await pair.promote()
        async with asyncio.timeout(20):
            while pool.get_size():  # noqa: ASYNC110 - it becomes true elsewhere
                await asyncio.sleep(0.02)
    finally:
        await pool.close()


async def test_a_connection_to_a_server_that_takes_no_writes_is_not_kept(pool: Pool) -> None:
    """A write that is refused as read-only ends its connection, so the next one goes to whoever is the primary."""
    async with pool.acquire() as connection:
        await connection.execute("CREATE TABLE written (number int PRIMARY KEY)")
        await connection.execute("SET default_transaction_read_only = on")
    writer = Writer(pool)
    assert [await writer.write(), await writer.write()] == [False, True]


async def test_an_ordinary_user_sees_the_timeline(pool: Pool, database_url: str) -> None:
    """A user without any role may see which timeline a server writes, so a demoted primary is refused to all users."""
    name = f"ordinary_{uuid4().hex}"
    await pool.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    connection = await Servers(re.sub("//[^@]*@", f"//{name}:{name}@", database_url)).connect(timeout=5)
    try:
        assert connection.timeline is not None
        assert connection.timeline.number >= 1
    finally:
        await connection.close()
        await pool.execute(f"DROP ROLE {name}")


async def test_a_server_that_does_not_answer_keeps_nobody_from_the_next(database_url: str) -> None:
    """The primary is found behind a server that is silent, and behind one where nothing listens."""
    ended = asyncio.Event()

    async def be_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(be_silent, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        for others in (f"127.0.0.1:{port}", f"127.0.0.1:{own_port()}"):
            connection = await Servers(database_url.replace("@", f"@{others},")).connect(timeout=20)
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()
        ended.set()


async def test_what_is_said_of_several_servers_is_what_helps_most(database_url: str) -> None:
    """A password that one server refuses is named, not that nothing listens at another."""
    wrong = re.sub(":[^:@]*@", f":wrong@127.0.0.1:{own_port()},", database_url)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await Servers(wrong).connect(timeout=20)
