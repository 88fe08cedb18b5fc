"""Each migration is applied once, even by several callers at the same time."""

import asyncio
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from service.db.migrate import migrate, sql_files
from service.db.pool import Pool
from service.errors import MigrationRefused
from tests.conftest import Stores


@pytest.fixture
async def empty_url(stores: Stores) -> AsyncIterator[str]:
    """A database without a table."""
    name = f"empty_{uuid4().hex}"
    admin = await asyncpg.connect(stores.postgres.url("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield stores.postgres.url(name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


async def _applied(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations ORDER BY name")]
    finally:
        await connection.close()


async def test_each_is_applied_once(empty_url: str) -> None:
    """The first run applies all migrations in order, and the second none."""
    first = await migrate(empty_url)
    assert first == list(sql_files())
    assert sorted(first) == await _applied(empty_url)
    assert await migrate(empty_url) == []


async def test_the_database_has_the_functions_of_the_files(pool: Pool) -> None:
    """Each function in the database has the text of the file with its name."""
    rows = await pool.fetch(
        "SELECT proname, pg_get_functiondef(oid) AS text, prosrc FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
    )
    bodies = {f"functions/{row['proname']}.sql": row["prosrc"] for row in rows}
    files = {name: text for name, text in sql_files().items() if name.startswith("functions/")}
    assert bodies.keys() == files.keys()
    assert [name for name, body in bodies.items() if f"$${body}$$" not in files[name]] == []


async def test_a_file_that_was_changed_after_it_was_applied_is_refused(empty_url: str) -> None:
    """If an applied file was changed nothing is applied, and a sentence names the file and says what to do."""
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE name LIKE 'functions/claim%'")
    await connection.execute("DELETE FROM schema_migrations WHERE name LIKE 'functions/write%'")
    await connection.close()
    with pytest.raises(MigrationRefused, match=r"functions/claim_notices_v3\.sql: restore .* add a new file"):
        await migrate(empty_url)
    assert "functions/write_looks_v2.sql" not in await _applied(empty_url)


async def test_a_database_from_before_the_first_release_is_refused(empty_url: str) -> None:
    """Its tables are others, and its list of migrations knows no checksums."""
    connection = await asyncpg.connect(empty_url)
    await connection.execute("CREATE TABLE schema_migrations (name text PRIMARY KEY, applied_at timestamptz)")
    await connection.close()
    with pytest.raises(MigrationRefused, match="before the first release"):
        await migrate(empty_url)


async def test_four_tasks_at_once(empty_url: str) -> None:
    """Tasks that migrate at the same time wait for each other, and each migration is applied by one."""
    results = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert sorted(name for applied in results for name in applied) == await _applied(empty_url)


async def test_four_processes_at_once(empty_url: str) -> None:
    """Processes that migrate at the same time all succeed, and each migration is applied by one."""
    program = (
        "import asyncio, sys; from service.db.migrate import migrate; print(len(asyncio.run(migrate(sys.argv[1]))))"
    )
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_url, stdout=asyncio.subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = [(await process.communicate())[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(int(output) for output in outputs) == len(await _applied(empty_url))


async def test_a_migration_that_fails_leaves_nothing(empty_url: str) -> None:
    """A file is applied completely or not at all, and its error is raised."""
    connection = await asyncpg.connect(empty_url)
    await connection.execute("CREATE TABLE payments (id int)")  # conflicts with a table of the first file
    await connection.close()
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT to_regclass('orders') IS NULL")
    await connection.close()
    assert await _applied(empty_url) == []
