"""Readiness: whether this receiver can accept a notice, which is all that routing should ask (docs/design.md §3)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from service.db.migrate import is_migrated
from service.db.pool import Pool, answered_within, in_statement
from service.errors import PostgresUnavailable, RedisUnavailable, UnfitPooler
from service.redis.queue import Queue

_PROBE_SECONDS = 2.0
# Anybody may ask, so the databases are asked at most this often.
_FRESH_SECONDS = 1.0


class PostgresState(StrEnum):
    """The word for whether Postgres keeps notices now or, if not, why."""

    OK = "ok"
    AWAY = "away"
    NOT_MIGRATED = "not migrated"
    UNFIT_POOLER = "behind an unfit pooler"
    DISK_FULL = "disk full"


@dataclass(frozen=True, slots=True)
class Ready:
    """The databases that keep notices now. One is enough to accept."""

    postgres_state: PostgresState = PostgresState.AWAY
    redis: bool = False

    @property
    def postgres(self) -> bool:
        return self.postgres_state is PostgresState.OK


class Readiness:
    """Probes both databases, on a connection of its own, and keeps the result for a second."""

    def __init__(self, pool: Pool, queue: Queue, finds_disk_full: Callable[[], bool]) -> None:
        """`finds_disk_full` says whether Postgres' disk had no room for the last notice."""
        self._pool = pool
        self._finds_disk_full = finds_disk_full
        self._queue = queue
        self._probe: asyncio.Task[Ready] | None = None
        self._stale_at = 0.0

    async def check(self) -> Ready:
        """Return the last result, or probe again if it is a second old. Callers share a probe."""
        if self._probe is None or (self._probe.done() and time.monotonic() >= self._stale_at):
            self._probe = asyncio.create_task(self._ask())
        return await asyncio.shield(self._probe)

    async def close(self) -> None:
        """Wait for a probe that is under way."""
        if self._probe:
            await asyncio.wait([self._probe])

    async def _ask(self) -> Ready:
        postgres, redis = await asyncio.gather(self._of_postgres(), self._redis_keeps())
        self._stale_at = time.monotonic() + _FRESH_SECONDS
        return Ready(postgres, redis)

    async def _of_postgres(self) -> PostgresState:
        try:
            migrated = await answered_within(_PROBE_SECONDS, in_statement(self._pool, is_migrated))
        except UnfitPooler:
            return PostgresState.UNFIT_POOLER
        except (PostgresUnavailable, asyncpg.PostgresError) as error:
            never_was = isinstance(error.__cause__, asyncpg.UndefinedTableError)
            return PostgresState.NOT_MIGRATED if never_was else PostgresState.AWAY
        if not migrated:
            return PostgresState.NOT_MIGRATED
        return PostgresState.DISK_FULL if self._finds_disk_full() else PostgresState.OK

    async def _redis_keeps(self) -> bool:
        try:
            return await self._queue.is_durable()
        except RedisUnavailable:
            return False
