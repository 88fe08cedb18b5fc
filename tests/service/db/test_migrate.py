"""Migrations: applied once each, whoever comes at the same time."""

import asyncio
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from service.db.migrate import migrate
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
    """The first run applies all, in their order; the second nothing."""
    first = await migrate(empty_url)
    assert first == sorted(first) == await _applied(empty_url)
    assert await migrate(empty_url) == []


async def test_four_tasks_at_once(empty_url: str) -> None:
    """Those who come together wait for each other: each migration is applied by one of them."""
    results = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert sorted(name for applied in results for name in applied) == await _applied(empty_url)


async def test_four_processes_at_once(empty_url: str) -> None:
    """The same for processes: all end well, and each migration was applied by one."""
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
    """A file is applied whole or not at all, and its failure is the caller's to see."""
    connection = await asyncpg.connect(empty_url)
    await connection.execute("CREATE TABLE payments (id int)")  # in the way of the first file's second table
    await connection.close()
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT to_regclass('orders') IS NULL")
    await connection.close()
    assert await _applied(empty_url) == []
