"""What the tasks work with, made once a worker."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from uuid import UUID

import structlog

from service.db.pool import Pool, in_transaction, open_pool
from service.domain.timetable import Timetable
from service.errors import RedisUnavailable
from service.portone.accounts import open_accounts
from service.portone.client import PortOne
from service.redis.budget import Budget
from service.redis.queue import Queue, connect
from service.settings import Settings
from service.usecases.batching import Batcher
from service.usecases.preparation import Preparing, prepare_due
from service.usecases.reconciliation import Reconciler
from service.usecases.recording import Recorder
from service.usecases.refunds import Refunder
from service.usecases.terms import expire_due
from service.usecases.verification import Verifier
from workers.refunds import make_refunder

log = structlog.get_logger()

# A turn is bounded: each order is a lock until the commit, each preparation a call.
_EXPIRED_A_TURN = 200
_PREPARED_A_TURN = 50

# One bounded turn of background work, safe in several workers; what it returns is a count.
Turn = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Parts:
    """What the tasks work with; one a worker."""

    pool: Pool
    queue: Queue
    recorder: Recorder
    verifier: Verifier
    reconciler: Reconciler
    times: Timetable
    keep_handled: timedelta = timedelta(days=30)
    keep_unregistered: timedelta = timedelta(days=3)
    # Background work beside reconciliation: expiry and prepared amounts.
    turns: Sequence[Turn] = ()
    refunder: Refunder | None = None

    @cached_property
    def batcher(self) -> Batcher:
        """Joins the batches that arrive while one is verified."""
        return Batcher(self._verify)

    async def _verify(self, ids: Sequence[UUID]) -> None:
        """Look once for the whole batch, write what it means, and tell whoever waits. Raises PostgresUnavailable."""
        done = await self.verifier.verify(ids)
        log.info(
            "notices.verified",
            notices=len(ids),
            looked=done.looked,
            stored=done.stored,
            changed=done.changed,
            failed=done.failed,
        )
        try:
            if done.told:
                await self.queue.tell(done.told)
            if done.again:
                await self.queue.put(done.again, done.again_in)
        except RedisUnavailable as error:
            log.warning("notices.not_told", count=len(done.told), reason=str(error))


PARTS = "parts"  # where arq's context holds them


@contextlib.asynccontextmanager
async def make_parts(settings: Settings) -> AsyncIterator[Parts]:
    """The tasks' parts, closed at the end."""
    settings.require("database_url", "redis_url", "portone_imp_key", "portone_imp_secret")
    times = Timetable().scaled(settings.time_scale)
    pool = await open_pool(settings.database_url.get_secret_value())
    redis = connect(settings.redis_url.get_secret_value())
    queue = Queue(redis)
    try:
        async with open_accounts(settings.accounts, times) as accounts:
            yield _parts(settings, pool, queue, Budget(redis, settings.calls_per_second), accounts)
    finally:
        await queue.close()
        await pool.close()


def _parts(settings: Settings, pool: Pool, queue: Queue, budget: Budget, accounts: Mapping[str, PortOne]) -> Parts:
    times = Timetable().scaled(settings.time_scale)
    verifier = Verifier(pool, accounts, budget, allow_test_channel=settings.allow_test_channel, times=times)
    return Parts(
        pool=pool,
        queue=queue,
        recorder=Recorder(pool, queue, times),
        verifier=verifier,
        reconciler=Reconciler(pool, queue, accounts, budget, times, settings.stores),
        times=times,
        keep_handled=timedelta(days=settings.keep_handled_days),
        keep_unregistered=timedelta(days=settings.keep_unregistered_days),
        turns=_order_turns(Preparing(pool, accounts, budget, times)),
        refunder=make_refunder(settings, verifier, accounts),
    )


def _order_turns(preparing: Preparing) -> tuple[Turn, ...]:
    async def expire_orders() -> int:
        return await in_transaction(preparing.pool, lambda db: expire_due(db, _EXPIRED_A_TURN))

    async def prepare_amounts() -> int:
        return await prepare_due(preparing, _PREPARED_A_TURN)

    return expire_orders, prepare_amounts
