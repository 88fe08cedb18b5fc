"""The master is found among Sentinels that are silent or behind, and is left once another was promoted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack

import pytest
from arq.connections import ArqRedis
from redis.exceptions import ReadOnlyError, RedisError

from service.errors import RedisUnavailable
from service.redis.bounds import bounded
from service.redis.queue import connect, messages
from tests.running import until

Answer = Callable[[Sequence[bytes]], bytes]
_SILENT = b""


@contextlib.asynccontextmanager
async def _serving(answer: Answer) -> AsyncIterator[int]:
    """Serve Redis' protocol on a port: each command, as its words, gets this answer."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                count = int((await reader.readuntil(b"\n"))[1:])
                words = [await _word(reader) for _ in range(count)]
                writer.write(b"+OK\r\n" if words[0] == b"CLIENT" else answer(words))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def _word(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readuntil(b"\n"))[1:])
    return (await reader.readexactly(size + 2))[:-2]


def _array(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Sentinel:
    """A Sentinel's view, which a test changes: the master's port, and the epoch of the configuration."""

    def __init__(self, port: int = 0, epoch: int = 1, flags: bytes = b"master") -> None:
        self.port, self.epoch, self.flags = port, epoch, flags

    def __call__(self, words: Sequence[bytes]) -> bytes:
        state = {
            b"name": b"mymaster",
            b"ip": b"127.0.0.1",
            b"port": b"%d" % self.port,
            b"flags": self.flags,
            b"config-epoch": b"%d" % self.epoch,
        }
        return b"*1\r\n" + _array(*(word for pair in state.items() for word in pair))


def _server(name: bytes, role: bytes = b"master", error: bytes = b"") -> Answer:
    """Answer ROLE with the role, SUBSCRIBE and PING in order, and any other command with the name, or an error."""

    def answer(words: Sequence[bytes]) -> bytes:
        match words[0]:
            case b"ROLE":
                return _array(role)
            case b"SUBSCRIBE":
                return b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
            case b"PING":
                return _array(b"pong", b"")
            case _:
                return b"-%s\r\n" % error if error else b"$%d\r\n%s\r\n" % (len(name), name)

    return answer


@contextlib.asynccontextmanager
async def _client(*sentinels: Answer) -> AsyncIterator[ArqRedis]:
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(_serving(sentinel)) for sentinel in sentinels]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        client = connect(f"redis+sentinel://{hosts}/mymaster/0")
        stack.push_async_callback(client.aclose, close_connection_pool=True)
        yield client


async def test_a_silent_sentinel_hides_no_other() -> None:
    """All Sentinels are asked at once, so the silent ones use up no command's second."""
    async with (
        _serving(_server(b"one")) as port,
        _client(lambda _: _SILENT, lambda _: _SILENT, Sentinel(port)) as redis,
    ):
        await until(lambda: _names(redis, b"one"))


async def test_the_newest_configuration_counts() -> None:
    """A Sentinel that was cut off names the old master, also where it comes first."""
    async with (
        _serving(_server(b"old")) as old,
        _serving(_server(b"new")) as new,
        _client(Sentinel(old, epoch=1), Sentinel(new, epoch=2)) as redis,
    ):
        assert await redis.get("name") == b"new"


async def test_a_newer_sentinel_that_sees_its_master_down_is_not_overruled() -> None:
    """While the newest master is down, the one of an older configuration is not used in its place."""
    async with (
        _serving(_server(b"old")) as old,
        _client(Sentinel(old, epoch=1), Sentinel(1, epoch=2, flags=b"master,s_down")) as redis,
    ):
        with pytest.raises(RedisError, match="the Sentinels see the master down"):
            await redis.get("name")


async def test_a_server_that_is_no_master_is_not_used() -> None:
    """The server that the Sentinels name is asked for its role before anything is sent to it."""
    async with _serving(_server(b"one", role=b"slave")) as port, _client(Sentinel(port)) as redis:
        with pytest.raises(RedisError, match="is not the master"):
            await redis.get("name")


async def test_a_master_that_was_replaced_is_left() -> None:
    """Connections in use leave a master that still answers, once the Sentinels name another: commands and listeners."""
    async with _serving(_server(b"old")) as old, _serving(_server(b"new")) as new:
        sentinel = Sentinel(old)
        async with _client(sentinel) as redis:
            listening = messages(redis, "c")
            assert await anext(listening) is None
            assert await redis.get("name") == b"old"
            sentinel.port, sentinel.epoch = new, 2
            heard = asyncio.ensure_future(anext(listening))
            await until(lambda: _names(redis, b"new"))
            assert await heard is None  # it has subscribed again
            await listening.aclose()


async def _names(redis: ArqRedis, name: bytes) -> bool:
    with contextlib.suppress(RedisUnavailable):
        return bool(await bounded(redis.get("name")) == name)
    return False


async def test_a_listener_alone_leaves_a_master_that_was_replaced() -> None:
    """A listener finds out by itself, where its process sends no command."""
    async with _serving(_server(b"old")) as old, _serving(_server(b"new")) as new:
        sentinel = Sentinel(old)
        async with _client(sentinel) as redis:
            listening = messages(redis, "c")
            assert await anext(listening) is None
            sentinel.port, sentinel.epoch = new, 2
            assert await anext(listening) is None
            await listening.aclose()


async def test_a_server_that_became_read_only_is_asked_for_again() -> None:
    """Without Sentinels a connection that meets READONLY is closed, so that the next one asks DNS again."""
    async with _serving(_server(b"", error=b"READONLY You can't write against a read only replica.")) as port:
        redis = connect(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(ReadOnlyError):
            await redis.set("key", "value")
        assert [connection.is_connected for connection in redis.connection_pool._available_connections] == [False]
        await redis.aclose(close_connection_pool=True)
