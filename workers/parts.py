"""What the tasks work with, made once a worker."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from service.budget import Budget
from service.db.pool import Pool, in_transaction, open_pool
from service.domain.payment import ACCOUNT, Store
from service.domain.refund import Policy
from service.portone.client import PortOne
from service.preparation import Preparing, prepare_due
from service.queue import Queue, connect
from service.reconciliation import Reconciler
from service.recording import Recorder
from service.refund_intents import Intents
from service.refunds import Refunder
from service.settings import Settings
from service.terms import expire_due
from service.timetable import Timetable
from service.verification import Verifier

# A turn is bounded: each order is a lock until the commit, each preparation a call.
_EXPIRED_A_TURN = 200
_PREPARED_A_TURN = 50

# One bounded turn of background work, safe in several workers; what it returns is a count.
Turn = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
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
    # Background work beside reconciliation: expiry, prepared amounts, refunds.
    turns: Sequence[Turn] = ()


PARTS = "parts"  # where arq's context holds them


@contextlib.asynccontextmanager
async def make_parts(settings: Settings) -> AsyncIterator[Parts]:
    """The tasks' parts, closed at the end."""
    settings.require("database_url", "redis_url", "portone_imp_key", "portone_imp_secret")
    times = Timetable().scaled(settings.time_scale)
    pool = await open_pool(settings.database_url.get_secret_value())
    redis = connect(settings.redis_url.get_secret_value())
    queue = Queue(redis)
    portone = PortOne(
        settings.portone_api_url, settings.portone_imp_key, settings.portone_imp_secret.get_secret_value(), times
    )
    budget = Budget(redis, settings.calls_per_second)
    stores = [Store(ACCOUNT, tier) for tier in ("", *settings.portone_tiers)]
    verifier = Verifier(pool, portone, budget, allow_test_channel=settings.allow_test_channel, times=times)
    try:
        yield Parts(
            pool=pool,
            queue=queue,
            recorder=Recorder(pool, queue, times),
            verifier=verifier,
            reconciler=Reconciler(pool, queue, portone, budget, times, stores),
            times=times,
            keep_handled=timedelta(days=settings.keep_handled_days),
            keep_unregistered=timedelta(days=settings.keep_unregistered_days),
            turns=(
                *_order_turns(Preparing(pool, portone, budget, times)),
                *_refund_turns(settings, verifier, portone),
            ),
        )
    finally:
        await portone.close()
        await queue.close()
        await pool.close()


def _order_turns(preparing: Preparing) -> tuple[Turn, ...]:
    async def expire_orders() -> int:
        return await in_transaction(preparing.pool, lambda db: expire_due(db, _EXPIRED_A_TURN))

    async def prepare_amounts() -> int:
        return await prepare_due(preparing, _PREPARED_A_TURN)

    return expire_orders, prepare_amounts


def _refund_turns(settings: Settings, verifier: Verifier, portone: PortOne) -> tuple[Turn, ...]:
    """Refunds go to no account but the one that is configured."""
    accounts = {ACCOUNT: portone}
    policy = Policy(settings.on_mismatch, settings.on_duplicate)
    intents = Intents(verifier.pool, policy, accounts.keys(), verifier.allow_test_channel, verifier.times)
    refunder = Refunder(verifier.pool, verifier, intents, accounts, settings.refund_max_per_hour, times=verifier.times)
    return intents.intend_due, refunder.refund_due, refunder.close_asked
