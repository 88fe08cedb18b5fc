"""TLS to both databases: a certificate is accepted if its authority is named, and if it is the host's own."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from arq.connections import ArqRedis
from redis.exceptions import RedisError

from cli.checks.databases import check_postgres, check_redis
from service.db.pool import open_pool
from service.redis.queue import connect
from service.settings import Settings
from tests.certificates import make_certificate
from tests.running import until
from tests.service.redis.scripted import Sentinel, serving

# What a client of Postgres sends before it begins with TLS, and the consent of the server.
_SSL_REQUEST, _CONSENT = b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"S"


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


@contextlib.asynccontextmanager
async def _encrypted(url: str, certificate: Path) -> AsyncIterator[int]:
    """Serve a database's own server over TLS, on a port."""
    target, context = urlsplit(url).port, _context(certificate)
    is_postgres = url.startswith("postgres")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if is_postgres:
                assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST
                writer.write(_CONSENT)
                await writer.start_tls(context)
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(_pump(reader, target_writer), _pump(target_reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if is_postgres else context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
    writer.close()


def _through(url: str, port: int, options: str) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{port}/").replace("redis://", "rediss://") + f"?{options}"


async def test_redis_and_its_sentinels_are_reached_by_tls(redis_url: str, tmp_path: Path) -> None:
    """One CA file is for the servers and for the Sentinels; a certificate of another host is refused."""
    right, wrong = make_certificate(tmp_path), make_certificate(tmp_path, "DNS:other.example", "other")
    password = urlsplit(redis_url).password
    async with (
        _encrypted(redis_url, right) as port,
        serving(Sentinel(port), _context(right)) as sentinel,
        _encrypted(redis_url, wrong) as other,
    ):
        for url in (
            _through(redis_url, port, f"ssl_ca_certs={right}"),
            f"rediss+sentinel://:{password}@127.0.0.1:{sentinel}/mymaster/0?ssl_ca_certs={right}",
        ):
            redis = connect(url)
            await until(partial(_answers, redis))
            await redis.aclose(close_connection_pool=True)
        for url in (_through(redis_url, port, ""), _through(redis_url, other, f"ssl_ca_certs={wrong}")):
            [fault] = await check_redis(Settings.load(_env_file=None, redis_url=url))
            assert "the encrypted connection fails: correct its certificate, or REDIS_URL" in fault


async def _answers(redis: ArqRedis) -> bool:
    with contextlib.suppress(RedisError):  # a busy machine may be too slow for the time that a Sentinel has
        return bool(await redis.ping())
    return False


async def test_postgres_is_reached_by_tls(database_url: str, tmp_path: Path) -> None:
    """`verify-full` with a CA file accepts the host's own certificate alone."""
    right, wrong = make_certificate(tmp_path), make_certificate(tmp_path, "DNS:other.example", "other")
    async with _encrypted(database_url, right) as port, _encrypted(database_url, wrong) as other:
        pool = await open_pool(_through(database_url, port, f"sslmode=verify-full&sslrootcert={right}"))
        assert await pool.fetchval("SELECT 1") == 1
        await pool.close()
        url = _through(database_url, other, f"sslmode=verify-full&sslrootcert={wrong}")
        [fault] = await check_postgres(Settings.load(_env_file=None, database_url=url))
        assert "the encrypted connection fails: correct its certificate, or DATABASE_URL" in fault
