"""The console's first page: today at a glance, and what its numbers wait for. All who look share one reading."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.db import endpoints, processes, today
from service.db.endpoints import WebhookEndpoint
from service.db.pool import Connection
from service.db.processes import RunningProcess
from service.db.today import WaitingOrders
from service.settings import Settings
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.console import Console
from service.usecases.readiness import Readiness, Ready
from service.usecases.today import DayHours, Today, read_today

# A reading serves all who look within this time.
_FRESH_SECONDS = 2.0
_LOOKING_MAX = 200


@dataclass(frozen=True, slots=True)
class TodayPage:
    """Everything that the first page shows. `open_outcomes`: how often each outcome is an open notice's last."""

    today: Today
    ready: Ready
    waiting: WaitingOrders
    open_outcomes: Mapping[str, int]
    processes: Sequence[RunningProcess]
    endpoints: Sequence[WebhookEndpoint]


class TodayReading:
    """Reads the first page."""

    def __init__(self, console: Console, settings: Settings, readiness: Readiness) -> None:
        self._console = console
        self._settings = settings
        self._readiness = readiness
        self._hours = DayHours()
        self._last: TodayPage | None = None
        self._stale_at = 0.0
        self.batches = Coalescer[None, TodayPage](self._read_for_all, BatchBounds(_LOOKING_MAX, waiting=_LOOKING_MAX))

    async def read(self) -> TodayPage:
        """Return the page as of two seconds ago at most. Raises Overloaded or PostgresUnavailable."""
        if self._last is not None and time.monotonic() < self._stale_at:
            return self._last
        return await self.batches.join(None)

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.batches.close()

    async def _read_for_all(self, lookers: Sequence[None]) -> Sequence[TodayPage]:
        glance = await self._console.run(lambda pool: read_today(pool, self._settings, self._hours))
        page = await self._console.read(_read, glance, await self._readiness.check())
        self._last, self._stale_at = page, time.monotonic() + _FRESH_SECONDS
        return [page] * len(lookers)


async def _read(db: Connection, glance: Today, ready: Ready) -> TodayPage:
    return TodayPage(
        today=glance,
        ready=ready,
        waiting=await today.waiting_orders(db),
        open_outcomes=await today.open_outcomes(db),
        processes=await processes.read(db),
        endpoints=await endpoints.read(db),
    )
