"""Run both databases, embedded, as the service demands them: Postgres with fsync, Redis with AOF synced always.

Each measurement has its own database, copied from a template that is filled once for each size of the table.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from redis.asyncio import Redis as Client

from bench import orders
from cli.embedded.postgres import Postgres
from cli.embedded.redis import Redis
from cli.processes import Process
from faults.pooler import Pooler, make_pooler
from service.db.migrate import migrate

DATABASE = "bench"
_DROP = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
_POLL_SECONDS = 0.02
# Ten million orders take minutes to make, and a minute to copy.
_FILL_SECONDS = 1800

# Register all orders as service/db/orders.py registers one: with its row, and the event of version 1.
_FILL = """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state)
    SELECT 'order_' || n, 1000 + n % 997 * 100, 'KRW', now() + interval '30 days', 'pending'
    FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS n
"""
_FILL_CHECKS = """
    INSERT INTO order_checks (merchant_uid, next_check_at) SELECT merchant_uid, now() + interval '1 minute' FROM orders
"""
_FILL_EVENTS = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems, 'registration'
    FROM orders ORDER BY merchant_uid
"""


@dataclass(frozen=True)
class Counters:
    """The databases' own counters of their work so far."""

    wal_bytes: int
    wal_fsyncs: int
    redis_commands: int
    redis_jobs: int


class Databases:
    """Both servers, with the work that prepares and reads a measurement."""

    def __init__(
        self, postgres: Postgres, redis: Redis, processes: tuple[Process, Process], pooler: Pooler | None = None
    ) -> None:
        self._postgres, self._redis, self._pooler = postgres, redis, pooler
        self.postgres, self.redis = processes
        self.redis_url = redis.url()
        self.client = Client.from_url(self.redis_url)
        self._templates: set[int] = set()

    @property
    def database_url(self) -> str:
        return self._postgres.url(DATABASE)

    @property
    def pooled_url(self) -> str:
        """The address for receivers: behind the pooler, if there is one."""
        return self._pooler.url(self.database_url) if self._pooler else self.database_url

    @property
    def program_folder(self) -> Path:
        return Path(self.postgres.program.argv[0]).parent

    @property
    def folder(self) -> Path:
        """The folder of Postgres' data."""
        return self._postgres.home

    def libpq_environment(self) -> dict[str, str]:
        """Return variables for libpq's programs, so that no command line contains the password."""
        url = urlsplit(self.database_url)
        return {
            "PGHOST": url.hostname or "",
            "PGPORT": str(url.port),
            "PGUSER": url.username or "",
            "PGPASSWORD": url.password or "",
            "PGDATABASE": DATABASE,
        }

    async def fresh(self, size: int, tables: str = "") -> None:
        """Make the database again with `size` pending orders, and empty Redis. Nothing may use them meanwhile.

        `tables` is SQL for tables that only one system needs.
        """
        async with self._admin("postgres") as admin:
            await admin.execute(_DROP)
            if size not in self._templates:
                await self._make_template(admin, size)
            await admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {DATABASE}_{size} STRATEGY file_copy")
            if tables:
                await self._add(tables)
            await admin.execute("CHECKPOINT")
        await self.client.flushall()
        await self.client.bgrewriteaof()
        while (await self.client.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110 - Redis announces no end
            await asyncio.sleep(_POLL_SECONDS)

    async def empty(self) -> None:
        """Make the database again without any table, and empty Redis."""
        async with self._admin("postgres") as admin:
            await admin.execute(_DROP)
            await admin.execute(f"CREATE DATABASE {DATABASE}")
        await self.client.flushall()

    async def start_postgres(self) -> None:
        """Start Postgres again after its process was stopped."""
        await self._postgres.start(self.postgres)

    async def counters(self) -> Counters:
        """Return the counters. A Postgres session reports its last second at its end, so ended processes are exact."""
        async with self._admin("postgres") as admin:
            wal_bytes = await admin.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
            fsyncs = await admin.fetchval(_FSYNCS if admin.get_server_version().major >= 18 else _FSYNCS_TO_17)
        stats: dict[str, Any] = await self.client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
        return Counters(int(wal_bytes), int(fsyncs), sum(calls.values()), calls.get("zadd", 0))

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """Open a session in the measured database."""
        async with self._admin(DATABASE) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _admin(self, database: str) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self._postgres.url(database), timeout=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def _add(self, tables: str) -> None:
        async with self.session() as db:
            await db.execute(tables, timeout=_FILL_SECONDS)
            await db.execute("VACUUM (ANALYZE)", timeout=_FILL_SECONDS)

    async def _make_template(self, admin: Any, size: int) -> None:
        name = f"{DATABASE}_{size}"
        await admin.execute(f"CREATE DATABASE {name}")
        await migrate(self._postgres.url(name))
        async with self._admin(name) as template:
            await template.execute("SET session_replication_role = replica")  # skips the check that orders exist
            await template.execute(_FILL, orders.FIRST, size, timeout=_FILL_SECONDS)
            await template.execute(_FILL_CHECKS, timeout=_FILL_SECONDS)
            await template.execute(_FILL_EVENTS, timeout=_FILL_SECONDS)
            await template.execute("VACUUM (ANALYZE)", timeout=_FILL_SECONDS)
        self._templates.add(size)


_FSYNCS = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"
_FSYNCS_TO_17 = "SELECT wal_sync FROM pg_stat_wal"


@contextlib.asynccontextmanager
async def running_databases(*, pooled: bool = False) -> AsyncIterator[Databases]:
    """Start both databases in a scratch folder on the disk, and leave nothing behind. `pooled`: with PgBouncer."""
    parent = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None  # noqa: S108 - /tmp may be memory: no real fsync
    with tempfile.TemporaryDirectory(prefix="portone-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - Postgres may run as `nobody`, who must reach its data
        postgres = Postgres(folder / "postgres", folder / "postgres.log")
        redis = Redis(folder / "redis", folder / "redis.log")
        processes, poolers = (await postgres.prepare(), redis.prepare()), list[Process]()
        try:
            await postgres.start(processes[0])
            await redis.start(processes[1])
            await _keep_commit_times(postgres, processes[0])
            pooler = make_pooler(folder, postgres.url()) if pooled else None
            if pooler:
                poolers.append(pooler.process)
                await pooler.start()
            databases = Databases(postgres, redis, processes, pooler)
            yield databases
            await databases.client.aclose()
        finally:
            for process in (*poolers, *processes):
                await process.stop()


async def _keep_commit_times(postgres: Postgres, process: Process) -> None:
    """Let Postgres keep the time of each commit, from which the latencies of all systems are read."""
    connection = await asyncpg.connect(postgres.url(), timeout=10)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    await process.stop()
    await postgres.start(process)
