"""The embedded databases start, keep their data, and survive being killed."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis as Client

from cli.embedded.postgres import Postgres
from cli.embedded.redis import Redis
from cli.errors import CommandFailed
from cli.processes import Process, Program


class _Lines(list[str]):
    def has(self, text: str) -> bool:
        return any(text in line for line in self)


@pytest.fixture
def lines() -> _Lines:
    return _Lines()


@pytest.fixture
def postgres(tmp_path: Path, lines: _Lines) -> Iterator[Postgres]:
    one = Postgres(tmp_path / "postgres", tmp_path / "postgres.log", scratch=True, say=lines.append)
    yield one
    shutil.rmtree(one.home)


async def test_postgres_keeps_its_data_and_its_address(postgres: Postgres) -> None:
    """A second start has the data and the URL of the first."""
    process = await postgres.prepare()
    await postgres.start(process)
    url = postgres.url()
    await _execute(url, "CREATE TABLE kept (n integer)")
    await process.stop()
    assert not process.running
    again = await postgres.prepare()
    await postgres.start(again)
    try:
        assert postgres.url() == url
        await _execute(url, "INSERT INTO kept VALUES (1)")
    finally:
        await again.stop()


async def test_postgres_starts_again_after_it_was_killed(postgres: Postgres) -> None:
    """After kill -9 it starts despite a stale pid file and orphaned sessions, and has every commit."""
    process = await postgres.prepare()
    await postgres.start(process)
    await _execute(postgres.url(), "CREATE TABLE kept (n integer)")
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    await process.ended()
    again = await postgres.prepare()
    await postgres.start(again)
    try:
        await _execute(postgres.url(), "INSERT INTO kept VALUES (1)")
    finally:
        await again.stop()


async def test_a_postgres_left_running_is_stopped_first(postgres: Postgres, lines: _Lines) -> None:
    """A server that outlived its `dev` is stopped, and a line says so, before the data is used again."""
    left = await postgres.prepare()
    await postgres.start(left)
    again = await postgres.prepare()
    assert not left.running
    assert lines.has(f"pid {left.pid}")
    await postgres.start(again)
    await again.stop()


async def test_a_pid_file_that_names_a_stranger_harms_nobody(postgres: Postgres) -> None:
    """A pid file whose pid now belongs to another program is removed, and that program keeps running."""
    process = await postgres.prepare()
    await postgres.start(process)
    await process.stop()
    (postgres.home / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    again = await postgres.prepare()
    await postgres.start(again)
    await again.stop()


async def test_a_lost_password_is_one_sentence(postgres: Postgres, tmp_path: Path) -> None:
    """A cluster without its password is refused with a sentence that says what to do."""
    process = await postgres.prepare()
    await process.stop()
    (tmp_path / "postgres" / "password").unlink()
    with pytest.raises(CommandFailed, match="put it back, or remove"):
        await postgres.prepare()


async def test_postgres_wants_its_password(postgres: Postgres) -> None:
    """A wrong password is refused, even on loopback."""
    process = await postgres.prepare()
    await postgres.start(process)
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.url(), password="wrong")
    finally:
        await process.stop()


async def test_postgres_changes_no_folder_of_others(postgres: Postgres, tmp_path: Path) -> None:
    """Root's Postgres runs as `nobody`, and no folder that was there before gets another mode or owner."""
    others = [tmp_path, *tmp_path.parents]
    before = [(one.stat().st_mode, one.stat().st_uid) for one in others]
    process = await postgres.prepare()
    assert [(one.stat().st_mode, one.stat().st_uid) for one in others] == before
    assert (postgres.home / "data").stat().st_uid != 0
    assert (postgres.home / "data").stat().st_mode & 0o777 == 0o700
    await process.stop()


async def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A program that ends because a disk is full says so, whatever its last line is; an earlier run does not count."""
    words = 'initdb: error: could not write to file "x": No space left on device\\ninitdb: removing data directory'
    program = Program("initdb", ("/bin/sh", "-c", f"printf '{words}\\n'; exit 1"), tmp_path / "log", {})
    process = Process(program)
    process.start()
    with pytest.raises(CommandFailed, match=r"Initdb failed, because a disk is full .*: free space on it"):
        await process.finish(10)
    other = Process(replace(program, argv=("/bin/sh", "-c", "echo another fault; exit 1")))
    other.start()
    with pytest.raises(CommandFailed, match=r"Initdb failed \(another fault\)"):
        await other.finish(10)


async def test_redis_keeps_each_write_over_a_kill(tmp_path: Path) -> None:
    """Every answered write survives kill -9, even before a half-written last entry."""
    redis = Redis(tmp_path / "redis", tmp_path / "redis.log", embedded=True)
    process = redis.prepare()
    await redis.start(process)
    async with Client.from_url(redis.url()) as client:
        await client.set("kept", "1")
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    await process.ended()
    with next((tmp_path / "redis").rglob("*.incr.aof")).open("ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")
    again = redis.prepare()
    await redis.start(again)
    try:
        async with Client.from_url(redis.url()) as client:
            assert await client.get("kept") == b"1"
            config = await client.config_get("append*") | await client.config_get("maxmemory-policy")
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "always")
        assert config["maxmemory-policy"] == "noeviction"
    finally:
        await again.stop()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
