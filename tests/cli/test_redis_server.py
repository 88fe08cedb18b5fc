"""The embedded Redis keeps the program that wrote its data, whatever is installed later."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from cli.embedded.redis import Redis
from cli.embedded.redis_server import choose_server
from cli.errors import CommandFailed

Install = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "redis").mkdir()
    return tmp_path / "redis"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a redis-server that says of itself what it is told to, as the only one on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def put(version: str) -> Path:
        program = programs / "redis-server"
        program.write_text(f"#!/bin/sh\necho '{version} sha=00000000:0 malloc=libc bits=64 build=0'\n")
        program.chmod(0o755)
        return program

    return put


def write_data(folder: Path, header: bytes) -> None:
    (folder / "appendonlydir").mkdir()
    (folder / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(header)


REDIS_7 = b"REDIS0010\xfa\tredis-ver\x067.0.15\xfa\nredis-bits\xc0@"
REDIS_8 = b"REDIS0012\xfa\tredis-ver\x058.2.1\xfa\nredis-bits\xc0@"


async def test_a_redis_that_is_installed_later_does_not_take_over(tmp_path: Path, install: Install) -> None:
    """After Debian's redis-server was installed, the data's own server is started again with the data."""
    redis = Redis(tmp_path / "redis", tmp_path / "redis.log")
    process = redis.prepare()
    await redis.start(process)
    async with Client.from_url(redis.url()) as client:
        await client.set("kept", "1")
    await process.stop()
    install("Redis server v=7.0.15")
    again = redis.prepare()
    await redis.start(again)
    try:
        async with Client.from_url(redis.url()) as client:
            assert await client.get("kept") == b"1"
    finally:
        await again.stop()


def test_without_data_the_one_on_path_is_chosen_and_remembered(folder: Path, install: Install) -> None:
    """A new folder takes redis-server from PATH, and stays with it."""
    program = install("Redis server v=7.0.15")
    assert choose_server(folder, embedded=False) == program
    assert (folder / "server").read_text() == str(program)
    assert choose_server(folder, embedded=False) == program


def test_data_without_a_note_goes_to_the_server_that_wrote_it(folder: Path, install: Install) -> None:
    """Data of an earlier version of this command is matched to its server by its own header."""
    program = install("Redis server v=7.2.4")
    write_data(folder, REDIS_7)
    assert choose_server(folder, embedded=False) == program


@pytest.mark.parametrize(
    ("installed", "data", "sentence"),
    [
        (
            "Redis server v=7.0.15",
            REDIS_8,
            r"was written by Redis 8.2, and only Redis 7.0 \(.*\) and Valkey",
        ),
        ("Valkey server v=8.0.1", REDIS_8, "was written by Redis 8.2, and only Valkey 8.0"),
        ("nonsense", REDIS_8, "was written by Redis 8.2, and only Valkey"),
    ],
)
def test_a_mismatch_is_one_sentence(folder: Path, install: Install, installed: str, data: bytes, sentence: str) -> None:
    """Data that no server here can read is answered in one sentence that says what to install, without a repair."""
    install(installed)
    write_data(folder, data)
    with pytest.raises(CommandFailed, match=sentence) as mismatch:
        choose_server(folder, embedded=False)
    assert re.search(
        r"install Redis \d\.\d, or set STATE_DIR to another folder to start afresh\.$", str(mismatch.value)
    )
    assert "\n" not in str(mismatch.value)


def test_data_of_a_redis_that_is_gone_goes_to_a_server_that_can_read_it(folder: Path, install: Install) -> None:
    """Valkey takes over what Redis up to 7.2 wrote, once that Redis is gone."""
    program = install("Redis server v=7.0.15")
    write_data(folder, REDIS_7)
    assert choose_server(folder, embedded=False) == program
    program.unlink()
    assert choose_server(folder, embedded=False).name == "valkey-server"


def test_tests_use_the_embedded_one(folder: Path, install: Install) -> None:
    """A test's server is the wheel's, even if there is a redis-server on PATH or was one in the note."""
    program = install("Redis server v=7.0.15")
    choose_server(folder, embedded=False)
    chosen = choose_server(folder, embedded=True)
    assert (chosen.name, chosen != program) == ("valkey-server", True)
