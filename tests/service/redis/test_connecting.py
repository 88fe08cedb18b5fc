"""The master is found among Sentinels that are silent or behind, and is left once another was promoted."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from arq.connections import ArqRedis
from redis.exceptions import ReadOnlyError, RedisError

from service.errors import RedisUnavailable
from service.redis.bounds import bounded
from service.redis.queue import connect, messages
from tests.running import until
from tests.service.redis.scripted import Answer, Sentinel, array, serving

_SILENT = b""


def _server(name: bytes, role: bytes = b"master", error: bytes = b"") -> Answer:
    """Answer ROLE with the role, SUBSCRIBE and PING in order, and any other command with the name, or an error."""

    def answer(words: Sequence[bytes]) -> bytes:
        match words[0]:
            case b"ROLE":
                return array(role)
            case b"SUBSCRIBE":
                return b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
            case b"PING":
                return array(b"pong", b"")
            case _:
                return b"-%s\r\n" % error if error else b"$%d\r\n%s\r\n" % (len(name), name)

    return answer


@contextlib.asynccontextmanager
async def _serving_pair() -> AsyncIterator[tuple[int, int]]:
    """Serve a master that is about to be replaced, and the one that replaces it."""
    async with serving(_server(b"old")) as old, serving(_server(b"new")) as new:
        yield old, new


@contextlib.asynccontextmanager
async def _client(*sentinels: Answer) -> AsyncIterator[ArqRedis]:
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(serving(sentinel)) for sentinel in sentinels]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        client = connect(f"redis+sentinel://{hosts}/mymaster/0")
        stack.push_async_callback(client.aclose, close_connection_pool=True)
        yield client


async def test_a_silent_sentinel_hides_no_other() -> None:
    """All Sentinels are asked at once, so the silent ones use up no command's second."""
    async with (
        serving(_server(b"one")) as port,
        _client(lambda _: _SILENT, lambda _: _SILENT, Sentinel(port)) as redis,
    ):
        await until(lambda: _names(redis, b"one"))


async def test_the_newest_configuration_counts() -> None:
    """A Sentinel that was cut off names the old master, also where it comes first."""
    async with _serving_pair() as (old, new), _client(Sentinel(old, epoch=1), Sentinel(new, epoch=2)) as redis:
        await until(lambda: _names(redis, b"new"))


async def test_a_newer_sentinel_that_sees_its_master_down_is_not_overruled() -> None:
    """While the newest master is down, the one of an older configuration is not used in its place."""
    async with (
        serving(_server(b"old")) as old,
        _client(Sentinel(old, epoch=1), Sentinel(1, epoch=2, flags=b"master,s_down")) as redis,
    ):
        await until(lambda: _is_refused(redis, "the Sentinels see the master down"))


async def test_a_server_that_is_no_master_is_not_used() -> None:
    """The server that the Sentinels name is asked for its role before anything is sent to it."""
    async with serving(_server(b"one", role=b"slave")) as port, _client(Sentinel(port)) as redis:
        await until(lambda: _is_refused(redis, "is not the master"))


async def test_a_master_that_was_replaced_is_left() -> None:
    """Commands leave a master that still answers, once the Sentinels name another."""
    async with _serving_pair() as (old, new):
        sentinel = Sentinel(old)
        async with _client(sentinel) as redis:
            await until(lambda: _names(redis, b"old"))
            sentinel.port, sentinel.epoch = new, 2
            await until(lambda: _names(redis, b"new"))


async def _is_refused(redis: ArqRedis, reason: str) -> bool:
    """Return whether a command fails for this reason: a busy machine may fail to ask the Sentinel in time first."""
    with pytest.raises(RedisError) as refused:
        await redis.get("name")
    return reason in str(refused.value)


async def _names(redis: ArqRedis, name: bytes) -> bool:
    with contextlib.suppress(RedisUnavailable):
        return bool(await bounded(redis.get("name")) == name)
    return False


async def test_a_listener_alone_leaves_a_master_that_was_replaced() -> None:
    """A listener finds out by itself, where its process sends no command."""
    async with _serving_pair() as (old, new):
        sentinel = Sentinel(old)
        async with _client(sentinel) as redis:
            listening = messages(redis, "c")
            assert await anext(listening) is None
            sentinel.port, sentinel.epoch = new, 2
            assert await anext(listening) is None
            await listening.aclose()


async def test_a_server_that_became_read_only_is_asked_for_again() -> None:
    """Without Sentinels a connection that meets READONLY is closed, so that the next one asks DNS again."""
    async with serving(_server(b"", error=b"READONLY You can't write against a read only replica.")) as port:
        redis = connect(f"redis://127.0.0.1:{port}/0")
        with pytest.raises(ReadOnlyError):
            await redis.set("key", "value")
        assert [connection.is_connected for connection in redis.connection_pool._available_connections] == [False]
        await redis.aclose(close_connection_pool=True)
