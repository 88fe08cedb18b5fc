"""Check both databases: can they be reached, do they hold our tables, do they keep what they accept?"""

from collections.abc import Awaitable, Callable
from typing import Concatenate

import asyncpg
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from cli.addresses import place
from cli.checks.sentinels import sentinel_faults
from cli.errors import CommandFailed
from service.db.migrate import pending
from service.db.pool import Arguments, Connection, Result, patient_connection
from service.db.servers import Servers
from service.db.sessions import SETTINGS, try_statements
from service.errors import PostgresUnavailable, RedisUnavailable
from service.reasons import Reason, postgres_reason, redis_reason
from service.redis.connecting import MasterPool
from service.redis.durability import is_nearly_full, read_durability
from service.redis.queue import connect
from service.redis.spill import SPILL_STREAM, UNREADABLE_STREAM, bytes_spilled
from service.settings import Settings

SECONDS = 3.0  # longer than the service's own limits: a machine that is only busy must not look like one that hangs
# Connections of which a process that starts may be in need.
_SPARE_CONNECTIONS = 5
# From this share on a person should see to the room for spilled notices, of which strangers can fill a half.
_ROOM_SCARCE = 0.4
ERRORS = (PostgresUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class PostgresFailed(CommandFailed):
    """Postgres cannot be used. Where the check of Postgres says so already, others need not repeat it."""


async def check_postgres(settings: Settings) -> list[str]:
    """Check that Postgres answers, has our tables, and can be written to."""
    url = settings.require("database_url").database_url.get_secret_value()
    try:
        await _try_pooler(url)
        url = settings.direct_url
        await _try_pooler(url, whole=True)
        async with patient_connection(url, SECONDS) as connection:
            if missing := await pending(connection):
                return [f"Migrations are missing ({', '.join(missing)}): run `portone-orders migrate`."]
            await _write(connection)
            return await _scarce_connections(connection)
    except ERRORS as error:
        return [postgres_sentence(url, error)]


async def _try_pooler(url: str, *, whole: bool = False) -> None:
    """See whether sessions are as receivers need them, or `whole` as workers do. Raises UnfitPooler if not."""
    servers = Servers(url)
    session = await servers.connect(settings=SETTINGS, whole=whole, timeout=SECONDS, command_timeout=SECONDS)
    try:
        if session.is_pooled:
            await try_statements(session, await servers.connect(timeout=SECONDS, command_timeout=SECONDS))
    finally:
        session.terminate()


async def _write(connection: Connection) -> None:
    """Write a row and a megabyte, and take both back: only a write shows a disk that is full."""
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "INSERT INTO processes (id, kind, host, pid, version, clock_ahead_seconds, settings)"
        " VALUES (gen_random_uuid(), 'worker', 'doctor', 0, '', 0, '{}')"
    )
    await connection.execute(
        "CREATE TEMPORARY TABLE doctor_writes ON COMMIT DROP AS"
        " SELECT repeat(md5(n::text), 100) FROM generate_series(1, 300) AS n"
    )
    await transaction.rollback()


async def _scarce_connections(connection: Connection) -> list[str]:
    used, most = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
        " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    ) or (0, 0)
    if most - used >= _SPARE_CONNECTIONS:
        return []
    advice = "raise its max_connections, or run fewer receivers and workers"
    return [f"{used} of Postgres' {most} connections are taken: {advice}."]


def postgres_sentence(url: str, error: BaseException) -> str:
    return _sentence("Postgres", url, postgres_reason(error))


def redis_sentence(url: str, error: BaseException) -> str:
    return _sentence("Redis", url, redis_reason(error))


def _sentence(name: str, url: str, reason: Reason) -> str:
    return f"{name} at {place(url)}: {reason.text}: {reason.advice}."


async def ask_postgres(
    settings: Settings, query: Callable[Concatenate[Connection, Arguments], Awaitable[Result]],
    *args: Arguments.args, **named: Arguments.kwargs,
) -> Result:  # fmt: skip
    """Run a query in a transaction. Raises PostgresFailed."""
    url = settings.database_url.get_secret_value()
    if not url:
        raise PostgresFailed("DATABASE_URL is not set.")
    try:
        async with patient_connection(url, SECONDS) as connection, connection.transaction():
            return await query(connection, *args, **named)
    except ERRORS as error:
        raise PostgresFailed(postgres_sentence(url, error)) from error


async def check_redis(settings: Settings) -> list[str]:
    """Check that Redis keeps all that it accepts, because it may take notices (docs/design.md §2.1)."""
    url = settings.require("redis_url").redis_url.get_secret_value()
    redis = connect(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    try:
        weak = (await read_durability(redis, SECONDS)).weaknesses
        faults = [f"Redis at {place(url)} may lose what it accepts: {advice}." for advice in weak]
        if isinstance(redis.connection_pool, MasterPool):
            faults += await sentinel_faults(redis.connection_pool)
        return [*faults, *await _full(redis), *await _spilled(redis, settings.spill_megabytes)]
    except (RedisUnavailable, RedisError, OSError, TimeoutError) as error:
        return [redis_sentence(url, error)]
    finally:
        await redis.aclose(close_connection_pool=True)


async def _full(redis: ArqRedis) -> list[str]:
    persistence = await redis.info("persistence")
    faults = []
    if is_nearly_full(await redis.info("memory")):
        faults.append("Redis' memory is nearly full, and beyond it Redis accepts nothing: raise its maxmemory.")
    if persistence.get("aof_last_write_status", "ok") != "ok":
        faults.append("Redis could not write its log: free space on the disk of Redis.")
    return faults


async def _spilled(redis: ArqRedis, megabytes_max: float) -> list[str]:
    """Say what waits in Redis' streams. A worker moves what was spilled within 2 s of Postgres' return."""
    waiting, unreadable = await redis.xlen(SPILL_STREAM), await redis.xlen(UNREADABLE_STREAM)
    faults = []
    if waiting:
        faults.append(
            f"{waiting} notices wait in Redis ({SPILL_STREAM}), accepted while Postgres was away: a worker moves them"
            " as soon as it reaches Postgres and Redis."
        )
    if (megabytes := await bytes_spilled(redis) / 1e6) > _ROOM_SCARCE * megabytes_max:
        faults.append(
            f"They take {megabytes:.0f} of the {megabytes_max:.0f} MB that SPILL_MEGABYTES gives, beyond which notices"
            " are answered 503: bring Postgres back, or raise SPILL_MEGABYTES and restart the receivers."
        )
    if unreadable:
        faults.append(
            f"{unreadable} entries in Redis ({UNREADABLE_STREAM}) cannot be recorded: read them with XRANGE, have their"
            " payments looked at with `portone-orders reconcile`, then delete them."
        )
    return faults
