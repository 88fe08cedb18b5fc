"""The feed passes no event by, whoever commits when (docs/decisions/0022-read-the-feed-up-to-a-horizon.md)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from cli.embedded.postgres import DATABASE
from service.db import feed
from service.db.pool import Connection, Pool, one_connection
from service.domain.feed_horizon import Horizon
from tests.conftest import Stores
from tests.running import until
from tests.service import stored


class Follower:
    """A reader of the feed, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.horizon = Horizon()
        self.cursor = 0

    async def read(self) -> list[tuple[str, int]]:
        """Read on, and return each new event as (merchant_uid, version)."""
        upto = self.horizon.observe(await feed.position(self.connection))
        events = await feed.events(self.connection, self.cursor, upto, 1_000) if upto is not None else []
        if events:
            self.cursor = events[-1].id
        return [(event.merchant_uid, event.version) for event in events]


@pytest.fixture
async def follower(pool: Pool) -> AsyncIterator[Follower]:
    async with one_connection(pool) as connection:
        yield Follower(connection)


@contextlib.asynccontextmanager
async def _session(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def _write(connection: Any, merchant_uid: str, version: int = 1) -> None:
    await connection.execute(
        """
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        VALUES ($1, $2, 'pending', 1, 'KRW', 0, 0, '[]', 'amendment')
        """,
        merchant_uid,
        version,
    )


async def test_a_late_commit_is_not_passed_by(database_url: str, follower: Follower) -> None:
    """An event with a smaller id that commits after one with a larger id is read, and before it."""
    async with _session(database_url) as first, _session(database_url) as second:
        await first.execute("BEGIN")
        await _write(first, "early")
        await _write(second, "late")
        assert await follower.read() == []
        await first.execute("COMMIT")
        assert await follower.read() == [("early", 1), ("late", 1)]


async def test_an_order_is_read_in_its_order(database_url: str, follower: Follower) -> None:
    """Versions come in order, also where the transaction of the later version began first."""
    async with _session(database_url) as first, _session(database_url) as second:
        await first.execute("BEGIN")
        await first.execute("SELECT pg_current_xact_id()")  # the smaller transaction id
        await _write(second, "order-1", 2)
        await _write(first, "order-1", 3)
        await first.execute("COMMIT")
        assert await follower.read() == [("order-1", 2), ("order-1", 3)]


async def test_a_foreign_transaction_holds_nothing_back(database_url: str, follower: Follower) -> None:
    """Only transactions that write events do: not one of another table, nor one that reads, locks or vacuums."""
    async with (
        _session(database_url) as idle,
        _session(database_url) as reads,
        _session(database_url) as shares,
        _session(database_url) as writes,
    ):
        await idle.execute("BEGIN; CREATE TEMPORARY TABLE mine (n int); SELECT pg_current_xact_id()")
        await reads.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM order_events FOR UPDATE")
        await shares.execute("BEGIN; LOCK TABLE order_events IN SHARE UPDATE EXCLUSIVE MODE")
        await _write(writes, "order-1")
        assert await follower.read() == [("order-1", 1)]


async def test_only_this_database_counts(database_url: str, follower: Follower, stores: Stores) -> None:
    """A table of the same number in another database has writers of its own."""
    name = f"other_{uuid4().hex}"
    async with _session(stores.postgres.url("postgres")) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE} STRATEGY file_copy")
        async with _session(stores.postgres.url(name)) as other, _session(database_url) as writes:
            await other.execute("BEGIN")
            await _write(other, "elsewhere")
            await _write(writes, "order-1")
            assert await follower.read() == [("order-1", 1)]
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_what_was_rolled_back_never_comes(database_url: str, follower: Follower) -> None:
    """A transaction, or a part of one, that is rolled back leaves a gap that nobody waits for."""
    async with _session(database_url) as first, _session(database_url) as second:
        await first.execute("BEGIN; SAVEPOINT part")
        await _write(first, "never")
        await _write(second, "order-1")
        assert await follower.read() == []
        await first.execute("ROLLBACK TO part")
        assert await follower.read() == [("order-1", 1)]
        await _write(first, "order-2")
        await _write(second, "order-3")
        assert await follower.read() == []
        await first.execute("COMMIT")
        assert await follower.read() == [("order-2", 1), ("order-3", 1)]


async def test_a_released_savepoint_still_writes(database_url: str, follower: Follower) -> None:
    """A lock that a part of a transaction took is the whole transaction's once the part has ended."""
    async with _session(database_url) as first, _session(database_url) as second:
        await first.execute("BEGIN; SAVEPOINT part")
        await _write(first, "order-1")
        await first.execute("RELEASE part")
        await _write(second, "order-2")
        assert await follower.read() == []
        await first.execute("COMMIT")
        assert await follower.read() == [("order-1", 1), ("order-2", 1)]


async def test_a_writer_that_is_cut_off_is_not_waited_for(database_url: str, follower: Follower) -> None:
    """A process that is killed in its transaction leaves nothing, and holds nothing back."""
    async with _session(database_url) as first, _session(database_url) as second:
        await first.execute("BEGIN")
        await _write(first, "never")
        await _write(second, "order-1")
        assert await follower.read() == []
        first.terminate()
        read: list[tuple[str, int]] = []

        async def is_read() -> bool:
            read.extend(await follower.read())
            return bool(read)

        await until(is_read)
        assert read == [("order-1", 1)]


async def test_it_moves_on_beside_writers_without_end(database_url: str, follower: Follower) -> None:
    """While at least one transaction always writes, the horizon follows all the same."""
    async with _session(database_url) as first, _session(database_url) as second:
        read: list[tuple[str, int]] = []
        sessions = [first, second]
        await first.execute("BEGIN")
        for n in range(10):
            await _write(sessions[0], f"order-{n}")
            await sessions[1].execute("BEGIN")
            await _write(sessions[1], f"other-{n}")
            read += await follower.read()
            await sessions[0].execute("COMMIT")
            read += await follower.read()
            sessions.reverse()
        assert len(read) >= 16
        await sessions[0].execute("COMMIT")
        read += await follower.read()
        assert read == [(f"{name}-{n}", 1) for n in range(10) for name in ("order", "other")]


_WAITS_FOR_THE_TABLE = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'order_events'::regclass AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


async def test_the_lock_comes_before_the_first_id(database_url: str, pool: Pool) -> None:
    """The claim on which all rests: whoever waits for the table's lock has drawn no id yet, by any way of writing."""
    await stored.register_order(pool, "order-1")
    statements: list[Callable[[Any], Any]] = [
        lambda c: _write(c, "order-2"),
        lambda c: c.execute("SELECT count(*) FROM register_orders_v2($1::jsonb, interval '1 s', false)", _REGISTRATION),
        lambda c: c.execute("SELECT write_looks_v2(true, '[[\"order-1\"]]', '[]', $1::jsonb, '[]', '[]')", _CHANGE),
    ]
    for write in statements:
        async with _session(database_url) as locker, _session(database_url) as writer, _session(database_url) as look:
            with contextlib.suppress(asyncpg.PostgresError):  # plans are kept, as the service's are
                for _ in range(6):
                    await writer.execute("BEGIN")
                    await write(writer)
                    await writer.execute("ROLLBACK")
            before = await look.fetchval("SELECT pg_sequence_last_value('order_events_id_seq')")
            await locker.execute("BEGIN; LOCK TABLE order_events IN SHARE MODE")
            writing = asyncio.create_task(write(writer))
            await until(lambda: look.fetchval(_WAITS_FOR_THE_TABLE))
            assert await look.fetchval("SELECT pg_sequence_last_value('order_events_id_seq')") == before
            await locker.execute("COMMIT")
            await writing
            assert await look.fetchval("SELECT pg_sequence_last_value('order_events_id_seq')") > before


_REGISTRATION = '[["order-9", 1, "KRW", "default", "", null, null, null, false]]'
_CHANGE = '[["order-1", 1, "failed", 0, 0, null, [], false, null, null, "webhook", 1, 1, []]]'


async def test_an_empty_feed_has_the_position_0(pool: Pool) -> None:
    """Before the first event the last id is 0, though the sequence's own value is 1 already."""
    async with one_connection(pool) as connection:
        position = await feed.position(connection)
        assert (position.last_id, position.writers) == (0, frozenset())
        assert await feed.newest(connection, 0) == 0


async def test_all_sessions_know_the_same_life(pool: Pool) -> None:
    """Samples on any connection carry one name, also if the first two are taken at once."""
    async with one_connection(pool) as one, one_connection(pool) as other:
        first = await asyncio.gather(feed.position(one), feed.position(other))
        names = {position.life for position in (*first, await feed.position(one))}
    assert len(names) == 1
    assert None not in names


async def test_an_event_has_its_type_and_account(pool: Pool, follower: Follower) -> None:
    """A follower sees each version's facts, and what it changed."""
    await stored.register_order(pool, "order-1")
    await _write(pool, "order-1", 2)
    upto = follower.horizon.observe(await feed.position(follower.connection))
    assert upto is not None
    events = await feed.events(follower.connection, 0, upto, 10)
    assert [(event.type, event.version, event.account) for event in events] == [
        ("order.registered", 1, "default"),
        ("order.amended", 2, "default"),
    ]
    assert (events[0].amount, events[0].currency, events[0].problems, events[0].state) == (64900, "KRW", [], "pending")
    assert await feed.newest(follower.connection, upto) == events[-1].id


async def test_the_events_of_some_orders(pool: Pool, follower: Follower) -> None:
    """The events of named orders are found without the others', and in the feed's order."""
    for n in range(4):
        await stored.register_order(pool, f"order-{n}")
    await _write(pool, "order-1", 2)
    upto = follower.horizon.observe(await feed.position(follower.connection))
    assert upto is not None
    events = await feed.events_of(follower.connection, ["order-3", "order-1"], 0, upto, 2)
    assert [(event.merchant_uid, event.version) for event in events] == [("order-1", 1), ("order-3", 1)]
    events = await feed.events_of(follower.connection, ["order-3", "order-1"], events[-1].id, upto, 2)
    assert [(event.merchant_uid, event.version) for event in events] == [("order-1", 2)]


async def test_postgres_ends_what_our_processes_leave_behind(pool: Pool) -> None:
    """A frozen process of ours holds the feed back for seconds: Postgres ends its transaction, or its statement."""
    names = ("idle_in_transaction_session_timeout", "statement_timeout")
    assert [await pool.fetchval("SELECT current_setting($1)", name) for name in names] == ["10s", "10s"]
