"""PgBouncer in transaction mode: what is safe behind it works, and what is not is refused (docs/pooler.md)."""

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from cli.checks.databases import check_postgres
from service.db import feed
from service.db.migrate import migrate
from service.db.pool import Pool, one_connection, one_session, open_pool, refuse_shared_sessions
from service.db.sessions import is_pooled
from service.domain.feed_horizon import Horizon
from service.errors import UnfitPooler
from service.settings import Settings
from tests.conftest import Stores
from tests.poolers import give_settings, pgbouncer
from tests.running import bearer, running_receiver, until
from workers.main import run_worker


def _behind(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url), "direct_database_url": SecretStr("")})


async def test_connections_share_sessions(pool: Pool) -> None:
    """The pool of these tests has PgBouncer before it: a connection gets the session that another one leaves."""
    async with one_connection(pool) as one, one_connection(pool) as other:
        assert is_pooled(one)
        process = await one.fetchval("SELECT pg_backend_pid()")
        async with other.transaction():
            assert await other.fetchval("SELECT pg_backend_pid()") == process
            assert await one.fetchval("SELECT pg_backend_pid()") != process


async def test_workers_are_refused(settings: Settings) -> None:
    """A worker that is given the pooler's address does not start and names the setting; so does `doctor`."""
    behind = _behind(settings, settings.database_url.get_secret_value())
    with pytest.raises(UnfitPooler, match="a pooler before it shares our sessions with others"):
        await run_worker(behind)
    [sentence] = await check_postgres(behind)
    assert "let DIRECT_DATABASE_URL name Postgres itself" in sentence
    assert await check_postgres(settings) == []


async def test_a_migration_is_refused(settings: Settings, database_url: str) -> None:
    """`migrate` takes no lock in a session that it would leave to others."""
    with pytest.raises(UnfitPooler):
        await migrate(settings.database_url.get_secret_value())
    direct = await asyncpg.connect(database_url)
    assert await direct.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    await direct.close()


async def test_lost_prepared_statements_are_named(settings: Settings, database_url: str, stores: Stores) -> None:
    """A PgBouncer without prepared statements is named by a receiver and by `doctor`."""
    async with pgbouncer(stores, database_url, max_prepared_statements="0") as pooler:
        behind, types = _behind(settings, pooler.url(database_url)), set[str]()
        others = await open_pool(pooler.url(database_url), 5)
        async with running_receiver(behind) as receiver, contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                _, problem = await receiver.call("GET", "/orders/order-1", headers=bearer())
                types.add(problem["type"])
                await stack.enter_async_context(one_session(others))  # takes the session that the read used
        await others.close()
        [sentence] = await check_postgres(behind)
    assert "urn:portone-orders:problem:pooler-unfit" in types
    assert "a pooler before it loses prepared statements" in sentence


async def test_whole_sessions_are_let_through(settings: Settings, database_url: str, stores: Stores) -> None:
    """In session mode, with the settings from the database, nobody has anything to refuse."""
    await give_settings(database_url)
    async with pgbouncer(stores, database_url, pool_mode="session") as pooler:
        url = pooler.url(database_url)
        await refuse_shared_sessions(url)
        assert await migrate(url) == []
        assert await check_postgres(_behind(settings, url)) == []


async def test_a_pooler_that_restarts_costs_no_notice(settings: Settings, database_url: str, stores: Stores) -> None:
    """Notices that come while PgBouncer is away are accepted, and the receiver goes on by itself."""
    async with (
        pgbouncer(stores, database_url) as pooler,
        running_receiver(_behind(settings, pooler.url(database_url))) as receiver,
    ):
        await receiver.register("order-1")
        await pooler.process.stop()
        assert (await receiver.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"}))[0] == 200
        await pooler.start()

        async def reads() -> bool:
            return (await receiver.call("GET", "/orders/order-1", headers=bearer()))[0] == 200

        await until(reads)
        await receiver.register("order-2")


async def test_the_feed_moves_on_in_any_session(database_url: str, settings: Settings) -> None:
    """A reader whose samples come from several sessions, while somebody always writes, passes nothing by."""
    names = [f"order-{n}" for n in range(40)]
    pool = await open_pool(settings.database_url.get_secret_value(), 2)
    async with asyncio.timeout(40):
        _, (read, sessions) = await asyncio.gather(_write_all(database_url, names), _follow(pool, len(names)))
    await pool.close()
    assert read == names
    assert len(sessions) > 1


async def _write_all(database_url: str, names: list[str]) -> None:
    """Write an event for each name. Each transaction begins to write before the one before it ends."""
    older, newer = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    for name in names:
        await newer.execute("BEGIN")
        await _write(newer, name)
        if older.is_in_transaction():
            await older.execute("COMMIT")
        older, newer = newer, older
    await older.execute("COMMIT")
    await asyncio.gather(older.close(), newer.close())


async def _write(connection: Any, merchant_uid: str) -> None:
    await connection.execute(
        """
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        VALUES ($1, 1, 'pending', 1, 'KRW', 0, 0, '[]', 'amendment')
        """,
        merchant_uid,
    )


async def _follow(pool: Pool, count: int) -> tuple[list[str], set[int]]:
    """Read as many events. Return their orders, and the processes of the sessions in which they were read."""
    horizon, cursor, read, sessions = Horizon(), 0, list[str](), set[int]()
    while len(read) < count:
        async with contextlib.AsyncExitStack() as stack:
            if len(read) % 2:  # take the session that was read in before
                await stack.enter_async_context(one_session(pool))
            connection = await stack.enter_async_context(one_session(pool))
            upto = horizon.observe(await feed.position(connection))
            events = await feed.events(connection, cursor, upto, 100) if upto is not None else []
            sessions.add(await connection.fetchval("SELECT pg_backend_pid()"))
        cursor = events[-1].id if events else cursor
        read += [event.merchant_uid for event in events]
    return read, sessions
