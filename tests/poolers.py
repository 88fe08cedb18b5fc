"""Poolers of a test's own: PgBouncer, and one that needs no program and loses what our sessions ask for."""

import asyncio
import contextlib
import os
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from faults.pooler import Pooler, make_pooler
from service.db.sessions import SETTINGS
from tests.conftest import Stores

# What PgBouncer passes on or answers itself.
_KNOWN = {"user", "database", "client_encoding", "application_name"}
_SSL_REQUEST = 80_877_103
_PROTOCOL = 196_608
_KEY_DATA = b"K"


async def give_settings(database_url: str) -> None:
    """Let Postgres give our settings to each session of this database."""
    direct = await asyncpg.connect(database_url)
    for name, value in SETTINGS.items():
        await direct.execute(f"ALTER DATABASE {urlsplit(database_url).path[1:]} SET {name} = '{value}'")
    await direct.close()


@contextlib.asynccontextmanager
async def pgbouncer(stores: Stores, database_url: str, **changes: str) -> AsyncIterator[Pooler]:
    """Run a PgBouncer as the example sets it, with these values instead."""
    with tempfile.TemporaryDirectory(dir=stores.postgres.home.parent) as folder:
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - PgBouncer does not run as root, and must reach its files
        pooler = make_pooler(Path(folder), database_url, changes)
        try:
            await pooler.start()
            yield pooler
        finally:
            await pooler.process.stop()


@contextlib.asynccontextmanager
async def lossy_pooler(database_url: str, *, refuses: bool = False) -> AsyncIterator[str]:
    """Run a pooler that keeps whole sessions, and yield the database's address behind it.

    `refuses`: it says that it does not know a setting, as PgBouncer does.
    """
    server, tasks = urlsplit(database_url), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            asked = await _asked(reader, writer)
            if refuses and (unknown := sorted(set(asked) - _KNOWN)):
                writer.write(_refusal(unknown[0]))
                return
            upstream = await asyncio.open_connection(server.hostname, server.port)
            with contextlib.closing(upstream[1]):
                upstream[1].write(_start({name: value for name, value in asked.items() if name in _KNOWN}))
                await _pass_on(reader, writer, *upstream)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}").geturl()
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str]:
    """Return the parameters of the start-up message; encryption, which may be asked for first, is declined."""
    while True:
        length, code = struct.unpack("!II", await reader.readexactly(8))
        words = (await reader.readexactly(length - 8)).decode().split("\0")
        if code != _SSL_REQUEST:
            return {name: value for name, value in zip(words[::2], words[1::2], strict=False) if name}
        writer.write(b"N")


def _start(asked: dict[str, str]) -> bytes:
    body = "".join(f"{name}\0{value}\0" for name, value in asked.items()) + "\0"
    return struct.pack("!II", 8 + len(body.encode()), _PROTOCOL) + body.encode()


def _refusal(name: str) -> bytes:
    body = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {name}\0\0".encode()
    return b"E" + struct.pack("!I", 4 + len(body)) + body


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    server_reader: asyncio.StreamReader,
    server_writer: asyncio.StreamWriter,
) -> None:
    """Pass both ways on until one side ends. The number of the server's process is replaced, as poolers do."""
    upward = asyncio.create_task(_copy(reader, server_writer))
    try:
        kind = b""
        while kind != _KEY_DATA:
            kind = await server_reader.readexactly(1)
            (length,) = struct.unpack("!I", await server_reader.readexactly(4))
            body = await server_reader.readexactly(length - 4)
            if kind == _KEY_DATA:
                body = struct.pack("!I", 1) + body[4:]
            writer.write(kind + struct.pack("!I", length) + body)
            if kind == b"E":
                return
        await _copy(server_reader, writer)
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
