"""The measure of what all processes share, for the metrics: the promise, the queue, endpoints, refunds, processes.

Whoever reads the metrics, and however often, the databases are asked once in a few seconds.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from service.db import endpoints, processes, promise, refunds
from service.db.endpoints import WebhookEndpoint
from service.db.pool import Connection, Pool, answered_within, in_transaction
from service.db.processes import Condition
from service.db.promise import Measure
from service.errors import PostgresUnavailable, RedisUnavailable
from service.exposition import NAN, Exposition, Labels, Numbers
from service.redis.queue import Queue, QueueSizes
from service.settings import Settings
from service.usecases.following import Feed
from service.usecases.promise import LIMITS, broken_limits
from service.usecases.readiness import Readiness, Ready

# Prometheus asks every 15 s or so; several of them, and people, share a measure.
_FRESH_SECONDS = 5.0
# Prometheus waits 10 s for a page, and without one nobody learns that Postgres hangs.
_PATIENCE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class InPostgres:
    """The state as Postgres has it."""

    measure: Measure
    endpoints: Sequence[WebhookEndpoint]
    refunds: Mapping[str, int]
    processes: Mapping[tuple[str, Condition], int]
    feed_lag_seconds: float
    broken_limits: Collection[str]


@dataclass(frozen=True, slots=True)
class SharedState:
    """The state as it was last measured. None: that database did not answer."""

    ready: Ready = field(default_factory=Ready)
    postgres: InPostgres | None = None
    queue: QueueSizes | None = None


ReadState = Callable[[], SharedState]


class SharedMeter:
    """Measures the shared state, and keeps it for a few seconds."""

    def __init__(self, pool: Pool, queue: Queue, feed: Feed, readiness: Readiness, settings: Settings) -> None:
        self._pool, self._queue, self._feed = pool, queue, feed
        self._readiness = readiness
        self._settings = settings
        self._measuring: asyncio.Task[None] | None = None
        self._stale_at = 0.0
        self.state = SharedState()

    async def refresh(self) -> None:
        """Measure again if the last measure is some seconds old. Callers share one that is under way."""
        if self._measuring is None or (self._measuring.done() and time.monotonic() >= self._stale_at):
            self._measuring = asyncio.create_task(self._measure())
        await asyncio.shield(self._measuring)

    async def close(self) -> None:
        """Wait for a measure that is under way."""
        if self._measuring:
            await asyncio.wait([self._measuring])

    async def _measure(self) -> None:
        ready, postgres, queue = await asyncio.gather(self._readiness.check(), self._in_postgres(), self._in_redis())
        self.state = SharedState(ready, postgres, queue)
        self._stale_at = time.monotonic() + _FRESH_SECONDS

    async def _in_postgres(self) -> InPostgres | None:
        try:
            return await answered_within(_PATIENCE_SECONDS, self._ask_postgres())
        except PostgresUnavailable:
            return None

    async def _ask_postgres(self) -> InPostgres:
        lag_seconds = await self._feed.lag_seconds()
        return await in_transaction(self._pool, _read, self._settings, lag_seconds)

    async def _in_redis(self) -> QueueSizes | None:
        try:
            return await self._queue.sizes()
        except RedisUnavailable:
            return None


async def _read(db: Connection, settings: Settings, feed_lag_seconds: float) -> InPostgres:
    measure = await promise.measure(db, settings.stores, settings.ours)
    return InPostgres(
        measure,
        await endpoints.read(db),
        await refunds.count_open(db),
        Counter((process.kind, process.condition) for process in await processes.read(db)),
        feed_lag_seconds,
        broken_limits(measure, settings, feed_lag_seconds),
    )


_MEANINGS = {
    "overdue_seconds": "How long the longest starved notice has been due",
    "unregistered_overdue_seconds": "The same of notices that name no registered order",
    "open_notices": "Notices that wait for a look, counted up to 100,000",
    "parked_notices": "Notices that were set aside, without those that wait only for their order",
    "parked_unregistered": "Notices that were set aside because nobody registered their order",
    "open_problems": "Open problems of registered orders, as `problems list` counts them",
    "unregistered_payments": "Payments that hold money of orders that nobody registered",
    "ledger_lag_seconds": "Time since the last complete scan of the ledger that lags most",
    "keys_refused": "Accounts whose key PortOne refuses to a worker",
}


def show_shared(page: Exposition, state: ReadState) -> None:
    """Show the shared state on a receiver's page, as it was last measured."""
    _show_promise(page, state)
    _show_databases(page, state)
    _show_rows(page, state)
    _show_endpoints(page, state)


def _show_promise(page: Exposition, state: ReadState) -> None:
    def measured(name: str) -> Mapping[Labels, float]:
        postgres = state().postgres
        value = getattr(postgres.measure, name) if postgres else None
        return {(): NAN if value is None else value}

    def broken() -> Mapping[Labels, float]:
        postgres = state().postgres
        return {(name,): name in postgres.broken_limits for name in LIMITS} if postgres else {}

    for name, meaning in _MEANINGS.items():
        page.gauge(f"promise_{name}", meaning, partial(measured, name))
    page.gauge("promise_broken", "1 if this limit of `/healthz/promise` is passed", broken, ("limit",))
    page.gauge(
        "feed_lag_seconds",
        "How long the feed has held back its oldest event",
        lambda: {(): postgres.feed_lag_seconds if (postgres := state().postgres) else NAN},
    )


def _show_databases(page: Exposition, state: ReadState) -> None:
    def ready() -> Mapping[Labels, float]:
        return {("postgres",): state().ready.postgres, ("redis",): state().ready.redis}

    def size(name: str) -> Mapping[Labels, float]:
        queue = state().queue
        return {(): getattr(queue, name) if queue else NAN}

    page.gauge("database_ready", "1 if this database can keep a notice, as `/readyz` says", ready, ("database",))
    page.gauge("queue_jobs", "Jobs in the queue, those under way included", partial(size, "jobs"))
    page.gauge("spill_entries", "Notices in Redis that wait for Postgres' return", partial(size, "spilled"))
    page.gauge("spill_bytes", "Bytes that these take", partial(size, "spilled_bytes"))
    page.gauge("spill_room_bytes", "Bytes that these may take: SPILL_MEGABYTES", partial(size, "room_bytes"))


def _show_rows(page: Exposition, state: ReadState) -> None:
    def open_refunds() -> Mapping[Labels, float]:
        postgres = state().postgres
        return {(name,): count for name, count in postgres.refunds.items()} if postgres else {}

    def conditions() -> Mapping[Labels, float]:
        postgres = state().postgres
        every = [(kind, condition) for kind in ("receiver", "worker") for condition in Condition]
        return {each: postgres.processes.get(each, 0) for each in every} if postgres else {}

    page.gauge("refunds", "Refunds by state, those that have ended well left out", open_refunds, ("state",))
    page.gauge("processes", "Processes by kind and condition, as `doctor` sees them", conditions, ("kind", "condition"))


def _show_endpoints(page: Exposition, state: ReadState) -> None:
    def each(read: Callable[[WebhookEndpoint], float]) -> Numbers:
        def by_name() -> Mapping[Labels, float]:
            postgres = state().postgres
            return {(endpoint.name,): read(endpoint) for endpoint in postgres.endpoints} if postgres else {}

        return by_name

    label = ("endpoint",)
    page.counter("endpoint_deliveries", "Webhooks answered with success", each(lambda e: e.delivered), label)
    page.counter("endpoint_failures", "Attempts that failed", each(lambda e: e.failed), label)
    page.counter("endpoint_given_up", "Events that were given up", each(lambda e: e.given_up), label)
    page.gauge("endpoint_late_orders", "Orders behind the endpoint's cursor", each(lambda e: e.late), label)
    page.gauge(
        "endpoint_behind_seconds",
        "Age of the oldest event not told",
        each(lambda e: max(0.0, e.behind_seconds or 0.0)),
        label,
    )
    page.gauge("endpoint_disabled", "1 if it gets nothing", each(lambda e: e.disabled_at is not None), label)
