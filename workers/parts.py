"""The parts that a worker's tasks work with, made once for each worker."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property, wraps
from uuid import UUID

from service.db.lending import ConnectionPool
from service.db.pool import open_pool, refuse_shared_sessions
from service.domain.timetable import Timetable
from service.http.metrics_port import serving_metrics
from service.portone.accounts import open_accounts
from service.portone.client import PortOne
from service.redis.budget import Budget
from service.redis.queue import NOTICES_PER_JOB, Queue, connect
from service.settings import Settings
from service.tracing import Tracing, open_tracing
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.heartbeat import Vitals, beating
from service.usecases.preparation import Preparing, prepare_due
from service.usecases.reconciliation import Reconciler
from service.usecases.recording import Recorder
from service.usecases.refunds import Refunder
from service.usecases.searching import Searcher
from service.usecases.verification import Verifier
from workers.deliveries import delivering
from workers.metrics import WorkerMetrics
from workers.refunds import make_refunder
from workers.verify import verify

# A run of `verify` that takes longer than 8 ms waits for PortOne or for a disk, so the next begins beside it: a longer
# limit left a sixth of two cores idle under load; with a shorter one batches are too small to pay. What may wait is
# bounded by arq's jobs (`max_jobs`), of a hundred notices each.
_BATCHES = BatchBounds(NOTICES_PER_JOB, runs=8, waiting=50_000, slow_seconds=0.008)

# A turn is bounded: each preparation is a call.
_PREPARED_A_TURN = 50
# Batches of notices begin no closer together than this share of the calls allows; the rest is for second calls,
# searches and reconciliation. Otherwise a flood in small batches uses up each second's calls at its beginning, and the
# notices of the rest of the second find none and come again.
_RUNS_SHARE = 0.5

# One bounded turn of background work, safe in several workers; it returns a count.
Turn = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Parts:
    """The parts of one worker."""

    pool: ConnectionPool
    queue: Queue
    recorder: Recorder
    verifier: Verifier
    reconciler: Reconciler
    times: Timetable
    keep_handled: timedelta = timedelta(days=30)
    keep_unregistered: timedelta = timedelta(days=3)
    keep_attempts: timedelta = timedelta(days=7)
    # Background work after reconciliation's two: late orders and prepared amounts.
    turns: Sequence[Turn] = ()
    refunder: Refunder | None = None
    vitals: Vitals = field(default_factory=Vitals)
    searcher: Searcher | None = None
    run_spacing_seconds: float = 0.0

    @cached_property
    def batches(self) -> Coalescer[Sequence[UUID], None]:
        """The batches of `verify`: notices that arrive while a batch is verified form the next batch."""

        async def verify_jobs(jobs: Sequence[Sequence[UUID]]) -> Sequence[None]:
            await verify(self.verifier, self.queue, [notice_id for job in jobs for notice_id in job])
            return [None] * len(jobs)

        return Coalescer(verify_jobs, replace(_BATCHES, spacing_seconds=self.run_spacing_seconds), len)


@contextlib.asynccontextmanager
async def make_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Make the tasks' parts, and close them at the end."""
    settings.require("database_url", "redis_url", "portone_imp_key", "portone_imp_secret")
    times = settings.times
    await refuse_shared_sessions(settings.direct_url)
    # A look ends with its session (docs/decisions/0013-end-a-look-with-its-connection.md).
    pool = await open_pool(settings.direct_url, whole=True)
    redis = connect(settings.redis_url.get_secret_value())
    queue = Queue(redis)
    metrics = WorkerMetrics()
    try:
        async with open_accounts(settings.accounts, times) as accounts, open_tracing("worker", settings) as tracing:
            parts = _parts(settings, pool, queue, Budget(redis, settings.calls_per_second), accounts, tracing)
            _watch(metrics, parts, accounts)
            standings = {name: account.standing for name, account in accounts.items()}
            async with (
                beating("worker", settings, parts.vitals, standings),
                delivering(settings, metrics, tracing),
                serving_metrics(settings, metrics.page),
            ):
                try:
                    yield parts
                finally:
                    await parts.batches.close()  # what is under way needs both databases
    finally:
        await queue.close()
        await pool.close()


def _watch(metrics: WorkerMetrics, parts: Parts, accounts: Mapping[str, PortOne]) -> None:
    """Show the parts in the metrics."""
    metrics.accounts, metrics.vitals, metrics.looks = accounts, parts.vitals, parts.verifier.counts
    metrics.watch(verification=parts.batches)
    metrics.watch_pool("verification", parts.pool)


def _parts(
    settings: Settings,
    pool: ConnectionPool,
    queue: Queue,
    budget: Budget,
    accounts: Mapping[str, PortOne],
    tracing: Tracing | None,
) -> Parts:
    times = settings.times
    reconciler = Reconciler(
        pool,
        queue,
        accounts,
        budget,
        times,
        settings.stores,
        settings.ours,
        allow_test_channel=settings.allow_test_channel,
    )
    verifier = Verifier(
        pool,
        accounts,
        budget,
        allow_test_channel=settings.allow_test_channel,
        times=times,
        stores=frozenset(settings.stores),
        queue=queue,
        tracing=tracing,
    )
    return Parts(
        pool=pool,
        queue=queue,
        recorder=Recorder(pool, queue, times),
        verifier=verifier,
        reconciler=reconciler,
        times=times,
        keep_handled=timedelta(days=settings.keep_handled_days),
        keep_unregistered=timedelta(days=settings.keep_unregistered_days),
        keep_attempts=timedelta(days=settings.keep_attempts_days),
        turns=_turns(reconciler, Preparing(pool, accounts, budget, times)),
        refunder=make_refunder(settings, verifier, accounts),
        searcher=Searcher(pool, queue, accounts, budget, times),
        run_spacing_seconds=1 / (_RUNS_SHARE * settings.calls_per_second),
    )


def _turns(reconciler: Reconciler, preparing: Preparing) -> tuple[Turn, ...]:
    async def prepare_amounts() -> int:
        return await prepare_due(preparing, _PREPARED_A_TURN)

    return _paced(reconciler.replay_parked, preparing.times.late_orders), prepare_amounts


def _paced(turn: Turn, every: timedelta) -> Turn:
    """Return the turn, limited to one run in `every`, however often it is called."""
    next_at = time.monotonic()

    @wraps(turn)
    async def paced() -> int:
        nonlocal next_at
        if time.monotonic() < next_at:
            return 0
        next_at = time.monotonic() + every.total_seconds()
        return await turn()

    return paced
