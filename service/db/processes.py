"""The table `processes`: the receivers and workers that run, as each of them reports every few seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from service.db.pool import Connection

# A process reports every 2 s. One that has been silent for so long is frozen, was killed, or cannot reach Postgres.
SILENT_AFTER = timedelta(seconds=10)
# A sweep comes every 2 s and has 10 s.
_IDLE_AFTER = timedelta(seconds=30)
_FORGOTTEN_AFTER = timedelta(days=1)


class Condition(StrEnum):
    """The condition of a process: it works, or what keeps it from that."""

    WORKS = "works"
    IN_TROUBLE = "in_trouble"
    IDLE = "idle"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Report:
    """A process's report on itself. `at` and `worked_at` are times by its own clock."""

    id: UUID
    kind: str
    host: str
    pid: int
    version: str
    at: datetime
    worked_at: datetime | None
    trouble: str | None
    refused_accounts: Mapping[str, str]
    away_accounts: Mapping[str, str]
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process as it was last heard of. Ages are in seconds by Postgres' clock; `idle`: since its last sweep."""

    kind: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    running_seconds: float
    silent_seconds: float
    idle_seconds: float | None
    clock_ahead_seconds: float
    trouble: str | None
    refused_accounts: Mapping[str, str]
    away_accounts: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def is_silent(self) -> bool:
        """True if it is frozen, was killed, or cannot reach Postgres."""
        return self.silent_seconds > SILENT_AFTER.total_seconds()

    @property
    def unswept_seconds(self) -> float:
        """The time since it took up notices."""
        return self.running_seconds if self.idle_seconds is None else self.idle_seconds

    @property
    def condition(self) -> Condition:
        if self.is_silent:
            return Condition.SILENT
        if self.trouble:
            return Condition.IN_TROUBLE
        is_idle = self.kind == "worker" and self.unswept_seconds > _IDLE_AFTER.total_seconds()
        return Condition.IDLE if is_idle else Condition.WORKS

    @property
    def name(self) -> str:
        return f"{self.kind} {self.pid} on {self.host}"


async def report(db: Connection, report: Report) -> datetime:
    """Write a process's report. Returns the time that Postgres gives it."""
    seen_at: datetime = await db.fetchval(
        """
        INSERT INTO processes (id, kind, host, pid, version, settings, clock_ahead_seconds, worked_at, trouble,
                               refused_accounts, away_accounts)
        VALUES ($1, $2, $3, $4, $5, $6, extract(epoch FROM $7::timestamptz - clock_timestamp()),
                $8::timestamptz - ($7::timestamptz - clock_timestamp()), $9, $10, $11)
        ON CONFLICT (id) DO UPDATE SET seen_at = now(), clock_ahead_seconds = excluded.clock_ahead_seconds,
            worked_at = excluded.worked_at, trouble = excluded.trouble, refused_accounts = excluded.refused_accounts,
            away_accounts = excluded.away_accounts
        RETURNING seen_at
        """,
        report.id,
        report.kind,
        report.host,
        report.pid,
        report.version,
        dict(report.settings),
        report.at,
        report.worked_at,
        report.trouble,
        dict(report.refused_accounts),
        dict(report.away_accounts),
    )
    return seen_at


async def seen_at(db: Connection, process_id: UUID) -> datetime | None:
    """Return the time of a process's last report; None if this server has none of it."""
    last: datetime | None = await db.fetchval("SELECT seen_at FROM processes WHERE id = $1", process_id)
    return last


async def remove(db: Connection, process_id: UUID) -> None:
    """Remove a process that stops, and those that have not been heard of for a day."""
    await db.execute(
        "DELETE FROM processes WHERE id = $1 OR seen_at < now() - $2::interval", process_id, _FORGOTTEN_AFTER
    )


async def read(db: Connection) -> list[RunningProcess]:
    """Return the processes that were heard of within a day, the newest first, without those that were replaced.

    A process that a supervisor started again, on the same host and after the last word of the one before, replaces it.
    """
    rows = await db.fetch(
        """
        SELECT kind, host, pid, version, started_at, seen_at, clock_ahead_seconds, trouble, refused_accounts,
               away_accounts, settings,
               extract(epoch FROM now() - started_at)::float8 AS running_seconds,
               extract(epoch FROM now() - seen_at)::float8 AS silent_seconds,
               extract(epoch FROM now() - worked_at)::float8 AS idle_seconds
        FROM processes p
        WHERE seen_at > now() - $1::interval
          AND NOT EXISTS (SELECT FROM processes q
                          WHERE q.kind = p.kind AND q.host = p.host AND q.id <> p.id AND q.started_at > p.seen_at)
        ORDER BY started_at DESC
        """,
        _FORGOTTEN_AFTER,
    )
    return [RunningProcess(**row) for row in rows]
