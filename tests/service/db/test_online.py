"""A migration changes a table beside a service that uses it, and may be cut off anywhere."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from service.db import online
from service.db.migrate import migrate, sql_files
from service.db.pool import Pool

INDEX = """\
-- apply: statement by statement
-- An index that was cut off is left behind, invalid.
DROP INDEX CONCURRENTLY IF EXISTS orders_name;
CREATE INDEX CONCURRENTLY orders_name ON orders (name);
"""
BACKFILL = """\
-- apply: in batches
WITH batch AS (
    SELECT merchant_uid FROM orders WHERE merchant_uid > $1 ORDER BY merchant_uid LIMIT 10
), filled AS (
    UPDATE orders o SET name = 'filled' FROM batch WHERE o.merchant_uid = batch.merchant_uid AND o.name IS NULL
)
SELECT max(merchant_uid) FROM batch;
"""
# What a file may not do to a table that is in use: it would hold the writers, or all, for as long as the table is long.
_FORBIDDEN = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)|DROP INDEX (?!CONCURRENTLY)|ALTER COLUMN \S+ (?:SET DATA )?TYPE"
    r"|SET NOT NULL|ADD (?:CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY)(?!.*NOT VALID)|VACUUM FULL|\bCLUSTER\b|LOCK TABLE"
    r"|REINDEX (?!.*CONCURRENTLY)"
)


def pausing(text: str) -> list[str]:
    """Return the statements of a file that would make a service wait for as long as a table is long."""
    made = set(re.findall(r"CREATE TABLE (\w+)", text))
    return [
        statement
        for statement in online.statements(text)
        if _FORBIDDEN.search(statement) and not made & set(re.findall(r"\w+", statement))
    ]


async def _nothing() -> None:
    pass


@pytest.fixture
async def _orders(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO orders (merchant_uid, amount, currency, expires_at, state)"
        " SELECT 'order-' || n, 100, 'KRW', now(), 'pending' FROM generate_series(1, 45) AS n"
    )


async def _connect(database_url: str) -> Any:
    return await asyncpg.connect(database_url)


def test_no_migration_makes_the_service_wait() -> None:
    """No file after the first rewrites or locks a table for long."""
    later = {name: text for name, text in sql_files().items() if name != "migrations/0001_schema.sql"}
    assert {name: pausing(text) for name, text in later.items() if pausing(text)} == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("CREATE INDEX orders_name ON orders (name);", 1),
        ("ALTER TABLE orders ALTER COLUMN amount TYPE numeric;\nALTER TABLE orders ALTER COLUMN name SET NOT NULL;", 2),
        ("ALTER TABLE orders ADD CONSTRAINT named CHECK (name <> '');", 1),
        ("ALTER TABLE orders ADD CONSTRAINT named CHECK (name <> '') NOT VALID;", 0),
        ("ALTER TABLE orders ADD COLUMN note text;\nALTER TABLE orders VALIDATE CONSTRAINT named;", 0),
        ("CREATE TABLE notes (id int);\nCREATE INDEX notes_id ON notes (id);", 0),
        (INDEX, 0),
    ],
)
def test_what_would_is_found(text: str, count: int) -> None:
    """Statements that hold a table that is in use are told from those that do not."""
    assert len(pausing(text)) == count


@pytest.mark.usefixtures("_orders")
async def test_whoever_is_behind_a_migration_waits_for_an_instant(
    database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a long transaction holds the table, the migration gives way again and again, and is applied after it."""
    refused = asyncio.Event()
    monkeypatch.setattr(online, "_LOCK_MILLISECONDS", 20)

    async def pause(_: float) -> None:
        refused.set()
        await real_sleep(0.01)

    real_sleep = asyncio.sleep
    monkeypatch.setattr("service.db.online.asyncio.sleep", pause)
    migrating = await _connect(database_url)
    async with pool.acquire() as reader, reader.transaction():
        await reader.fetch("SELECT * FROM orders LIMIT 1")
        applying = asyncio.create_task(online.apply(migrating, "ALTER TABLE orders ADD COLUMN note text;", _nothing))
        await refused.wait()
        await pool.execute("UPDATE orders SET name = 'written beside it' WHERE merchant_uid = 'order-1'")
        assert not applying.done()
    await applying
    assert await pool.fetchval("SELECT count(*) FROM information_schema.columns WHERE column_name = 'note'") == 1
    await migrating.close()


@pytest.mark.usefixtures("_orders")
async def test_an_index_is_made_beside_others(database_url: str, pool: Pool) -> None:
    """An index is made outside of a transaction, also where an earlier try left an invalid one, and others migrate."""
    await pool.execute("CREATE INDEX orders_name ON orders (name)")
    await pool.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_name'::regclass")
    migrating = await _connect(database_url)
    await asyncio.gather(online.apply(migrating, INDEX, _nothing), migrate(database_url), migrate(database_url))
    assert await pool.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_name'::regclass")
    await migrating.close()


async def test_several_that_make_an_index_wait_for_each_other(
    database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of processes that migrate at once one makes the index, and none of them is in its way."""
    files = {**sql_files(), "migrations/0002_index.sql": INDEX}
    monkeypatch.setattr("service.db.migrate.sql_files", lambda: files)
    results = await asyncio.gather(*(migrate(database_url) for _ in range(3)))
    assert sorted(results) == [[], [], ["migrations/0002_index.sql"]]
    assert await pool.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_name'::regclass")


@pytest.mark.usefixtures("_orders")
async def test_rows_are_filled_batch_by_batch(database_url: str, pool: Pool) -> None:
    """Batches are transactions of their own; one that is cut off is begun again, and leaves what is filled as it is."""
    migrating, calls = await _connect(database_url), 0

    async def cut_off() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await online.apply(migrating, BACKFILL, cut_off)
    before = await pool.fetch("SELECT xmin::text, count(*) FROM orders GROUP BY 1 ORDER BY 2")
    assert [row["count"] for row in before] == [5, 10, 10, 10, 10]

    async def once() -> None:
        nonlocal calls
        calls += 1

    await online.apply(migrating, BACKFILL, once)
    assert await pool.fetch("SELECT xmin::text, count(*) FROM orders GROUP BY 1 ORDER BY 2") == before
    assert calls == 1
    await migrating.close()


async def test_another_way_is_refused(database_url: str) -> None:
    """A file that wants to be applied in a way that does not exist is not applied."""
    migrating = await _connect(database_url)
    with pytest.raises(ValueError, match="at night"):
        await online.apply(migrating, "-- apply: at night\nSELECT 1;", _nothing)
    await migrating.close()
