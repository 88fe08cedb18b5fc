"""The heartbeat: a process reports every few seconds that it lives, and what keeps it from working.

It has a connection of its own, because a process that is only busy must not look dead.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from uuid import UUID

import asyncpg
import structlog

from service.db import processes
from service.db.pool import Pool, in_statement, open_pool
from service.errors import PostgresUnavailable, RedisUnavailable
from service.portone.standing import Standing
from service.reasons import postgres_reason, redis_reason
from service.settings import Settings
from service.settings_text import setting_texts
from service.usecases.standby_reads import Beats

log = structlog.get_logger()

_EVERY_SECONDS = 2.0
_REMOVE_SECONDS = 2.0
_NOT_REPORTED = (PostgresUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


@dataclass
class Vitals:
    """The last time that a worker's sweep came to its end, and what has kept it from working since."""

    worked_at: datetime | None = None
    trouble: str | None = None

    def worked(self) -> None:
        self.worked_at, self.trouble = datetime.now(UTC), None


def trouble(error: PostgresUnavailable | RedisUnavailable) -> str:
    """Return what keeps a worker from working, in words."""
    if isinstance(error, RedisUnavailable):
        return f"Redis: {redis_reason(error).text}"
    return f"Postgres: {postgres_reason(error).text}"


@dataclass(frozen=True)
class Heartbeat:
    """Reports one process. `standings` says of each PortOne account that it asks how it stands."""

    pool: Pool
    kind: str
    settings: Mapping[str, str]
    vitals: Vitals = field(default_factory=Vitals)
    standings: Mapping[str, Standing] = field(default_factory=dict)
    beats: Beats = field(default_factory=Beats)

    @property
    def id(self) -> UUID:
        return self.beats.id

    async def run(self) -> None:
        """Report until cancelled. A Postgres that is away is waited for; others say so in the log."""
        silent = False
        while True:
            try:
                sent = time.monotonic()
                self.beats.keep(await in_statement(self.pool, processes.report, self._report()), sent)
                silent = False
            except _NOT_REPORTED as error:
                if not silent:
                    log.warning("process.not_reported", reason=type(error).__name__)
                silent = True
            await asyncio.sleep(_EVERY_SECONDS)

    async def remove(self) -> None:
        """Say that the process stops in order."""
        with suppress(*_NOT_REPORTED):
            async with asyncio.timeout(_REMOVE_SECONDS):
                await in_statement(self.pool, processes.remove, self.id)

    def _report(self) -> processes.Report:
        refused = {name: standing.refused_at for name, standing in self.standings.items()}
        away = {name: standing.away_at for name, standing in self.standings.items()}
        return processes.Report(
            id=self.id,
            kind=self.kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version("portone-orders"),
            at=datetime.now(UTC),
            worked_at=self.vitals.worked_at,
            trouble=self.vitals.trouble,
            refused_accounts={name: at.isoformat() for name, at in refused.items() if at},
            away_accounts={name: at.isoformat() for name, at in away.items() if at},
            settings=self.settings,
        )


@asynccontextmanager
async def beating(
    kind: str,
    settings: Settings,
    vitals: Vitals | None = None,
    standings: Mapping[str, Standing] | None = None,
    beats: Beats | None = None,
) -> AsyncIterator[Heartbeat]:
    """Report this process for as long as the context lasts."""
    url = settings.direct_url if kind == "worker" else settings.database_url.get_secret_value()
    pool = await open_pool(url, size=1)
    heartbeat = Heartbeat(pool, kind, setting_texts(settings), vitals or Vitals(), standings or {}, beats or Beats())
    running = asyncio.create_task(heartbeat.run())
    try:
        yield heartbeat
    finally:
        running.cancel()
        await asyncio.wait([running])
        await heartbeat.remove()
        await pool.close()
