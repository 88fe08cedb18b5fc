"""Today at a glance: how the service does, for the console's first page and the commands `top` and `status`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from service.db import endpoints, feed, processes, promise, today
from service.db.endpoints import WebhookEndpoint
from service.db.pool import Connection, Pool, in_snapshot
from service.db.processes import RunningProcess
from service.db.promise import Measure
from service.db.today import DueNotice, Span
from service.domain.delivery import Disabled, is_down
from service.settings import Settings
from service.usecases.promise import broken_promises

# The plot's width: a day, hour by hour.
HOURS = 24
_MINUTE = timedelta(minutes=1)

PortOneState = Literal["answers", "away", "key_refused", "unknown"]


@dataclass(frozen=True, slots=True)
class PortOneHealth:
    """The way PortOne answers the workers under one account, and since when; `unknown`: no worker runs that asks it."""

    account: str
    state: PortOneState
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Today:
    """All of it as of one moment, `at`, by Postgres' clock. Counts end at the maxima of service/db/promise.py.

    `hours` has a span for each hour that began within the last day, of which the last is under way; `minute` is the
    last whole minute. `longest_due` is the oldest notice that is due and was not looked at. `receivers` and `workers`
    are those that report themselves. `endpoints_down` fail, or were disabled for it. `broken` has a sentence for each
    limit of the promise that is passed.
    """

    at: datetime
    measure: Measure
    longest_due: DueNotice | None
    hours: Sequence[Span]
    minute: Span
    portone: Sequence[PortOneHealth]
    receivers: int
    workers: int
    feed_lag_seconds: float
    endpoints: int
    endpoints_down: Sequence[str]
    broken: Sequence[str]

    @property
    def paid(self) -> int:
        """Orders that became paid within the last day."""
        return sum(span.paid for span in self.hours)

    @property
    def is_estimated(self) -> bool:
        """True if an hour had more changes than were read, so that `paid` is an estimate."""
        return any(span.estimated for span in self.hours)


class DayHours:
    """The hours of the last day. One that is over is read once, because its changes stay as they are."""

    def __init__(self) -> None:
        self._over: dict[datetime, Span] = {}

    async def read(self, db: Connection, now: datetime) -> list[Span]:
        hour = now.replace(minute=0, second=0, microsecond=0)
        since = [hour - timedelta(hours=ago) for ago in reversed(range(HOURS))]
        known = [span for span in takewhile(bool, map(self._over.get, since)) if span]
        spans = known + await today.spans(db, since[len(known) :])
        # Whoever wrote at an hour's end has committed within a minute.
        self._over = {span.since: span for span in spans if span.since + timedelta(hours=1) + _MINUTE <= now}
        return spans


async def read_today(pool: Pool, settings: Settings, hours: DayHours | None = None) -> Today:
    """Read today's figures, with the limits of these settings. Every part reads a bounded number of rows by an index.

    Among two million events the first reading takes 40 ms, most of them for the hours, which `hours` keeps for the
    next. Raises PostgresUnavailable.
    """
    return await in_snapshot(pool, _read, settings, hours or DayHours())


async def _read(db: Connection, settings: Settings, day: DayHours) -> Today:
    now = await today.clock(db)
    measured = await promise.measure(db, settings.stores, settings.ours)
    hours = await day.read(db, now)
    [minute] = await today.spans(db, [now - _MINUTE])
    alive = [process for process in await processes.read(db) if not process.is_silent]
    workers = [process for process in alive if process.kind == "worker"]
    feed_lag_seconds = max((writer.seconds or 0.0 for writer in await feed.writers(db)), default=0.0)
    every = await endpoints.read(db)
    return Today(
        at=now,
        measure=measured,
        longest_due=await today.longest_due(db),
        hours=hours,
        minute=minute,
        portone=[portone_health(account, workers) for account in settings.accounts],
        receivers=len(alive) - len(workers),
        workers=len(workers),
        feed_lag_seconds=feed_lag_seconds,
        endpoints=len(every),
        endpoints_down=[endpoint.name for endpoint in every if _gets_nothing(endpoint)],
        broken=broken_promises(measured, settings, feed_lag_seconds),
    )


def _gets_nothing(endpoint: WebhookEndpoint) -> bool:
    """Return whether it fails or was disabled for that. One that a person disabled is as it should be."""
    return endpoint.disabled_why != Disabled.OPERATOR and (bool(endpoint.disabled_at) or is_down(endpoint.failures))


def portone_health(account: str, workers: Sequence[RunningProcess]) -> PortOneHealth:
    """Return how PortOne answers these workers. One that is refused or gets no answer counts for all."""
    if refused := [at for worker in workers if (at := worker.refused_accounts.get(account))]:
        return PortOneHealth(account, "key_refused", datetime.fromisoformat(min(refused)))
    if away := [at for worker in workers if (at := worker.away_accounts.get(account))]:
        return PortOneHealth(account, "away", datetime.fromisoformat(min(away)))
    return PortOneHealth(account, "answers" if workers else "unknown")
