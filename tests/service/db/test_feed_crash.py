"""The feed passes no event by when Postgres crashes, nor beside prepared transactions, on a server of its own."""

import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cli.embedded.postgres import Postgres
from cli.processes import Process
from service.db import feed
from service.db.migrate import migrate
from service.db.pool import patient_connection
from service.domain.feed_horizon import Horizon
from tests.running import until

_SECONDS = 20.0
_WRITE = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    VALUES ($1, 1, 'pending', 1, 'KRW', 0, 0, '[]', 'registration') RETURNING id
"""


class Server:
    """A server that can crash, and a follower who connects again."""

    def __init__(self, postgres: Postgres, process: Process) -> None:
        self.postgres, self.process = postgres, process
        self.horizon, self.cursor = Horizon(), 0

    async def read(self) -> list[str]:
        """Read on, on a new connection, with the horizon that the last one left."""
        async with patient_connection(self.postgres.url(), _SECONDS) as connection:
            upto = self.horizon.observe(await feed.position(connection))
            events = await feed.events(connection, self.cursor, upto, 100) if upto is not None else []
        self.cursor = events[-1].id if events else self.cursor
        return [event.merchant_uid for event in events]

    async def crash(self) -> None:
        """Kill a session as the kernel may do, upon which Postgres ends all sessions and recovers."""
        async with self.session() as session:
            os.kill(await session.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        await until(self._answers)

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with self.session() as session:
                return bool(await session.fetchval("SELECT true"))
        return False

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.postgres.url())
        try:
            yield connection
        finally:
            connection.terminate()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    postgres = Postgres(tmp_path / "postgres", tmp_path / "postgres.log", scratch=True)
    process = await postgres.prepare()
    try:
        await postgres.start(process)
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(Server(postgres, process).session())
            await session.execute("ALTER SYSTEM SET max_prepared_transactions = 4")
            await session.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")  # what is not committed stays unwritten
        await process.stop()
        await postgres.start(process)
        await migrate(postgres.url())
        yield Server(postgres, process)
    finally:
        await process.stop()
        shutil.rmtree(postgres.home, ignore_errors=True)


async def test_ids_that_are_drawn_again_after_a_crash(server: Server) -> None:
    """A crash may give ids out a second time that a horizon had passed, and the follower misses none of them."""
    async with server.session() as lost:
        await lost.execute(_WRITE.replace("$1", "'first'"))
        await lost.execute("BEGIN")
        for _ in range(50):
            await lost.execute(_WRITE.replace("$1", "gen_random_uuid()::text"))
        await lost.execute("ROLLBACK")
        assert await server.read() == ["first"]
        await server.crash()
    async with server.session() as late, server.session() as early:
        await late.execute("BEGIN")
        await late.execute(_WRITE, "late")
        await early.execute(_WRITE, "early")
        assert await server.read() == []
        await late.execute("COMMIT")
        assert await server.read() == ["late", "early"]


async def test_a_prepared_transaction_is_waited_for(server: Server) -> None:
    """A transaction that is prepared between two samples, or outlives a crash by another name, holds the feed back."""
    async with server.session() as first, server.session() as second:
        await first.execute("BEGIN")
        await first.execute(_WRITE, "first")
        await second.execute(_WRITE, "second")
        assert await server.read() == []
        await first.execute("PREPARE TRANSACTION 'mine'")
        assert await server.read() == []
        await server.crash()
    assert await server.read() == []
    async with server.session() as other:
        await other.execute("COMMIT PREPARED 'mine'")
    assert await server.read() == ["first", "second"]
