"""The workers: `portone-orders worker`, or `arq workers.main.WorkerSettings` for those who supervise it.

Both run the same tasks from the same single queue. Ours survives a Redis that goes away, and is woken by each job;
arq's own polls, and exits when Redis drops.
"""

import asyncio
import signal
from typing import Any

import structlog
from arq.cron import cron
from arq.worker import func

from service.reasons import redis_reason
from service.redis.bounds import REDIS_AWAY
from service.redis.durability import say_weaknesses
from service.redis.queue import (
    QUEUE_NAME,
    SEARCH,
    VERIFY,
    WAKE_CHANNEL,
    connect,
    deserialize,
    heed_cancellation,
    messages,
    serialize,
)
from service.settings import Settings, SettingsError
from service.usecases.heartbeat import Vitals
from workers.parts import Parts, make_parts
from workers.refunds import REFUNDER, close_refunds, intend_refunds, send_refunds
from workers.searches import SEARCHER, search_payments
from workers.tasks import prune, reconcile, sweep
from workers.verify import PARTS, verify_notices
from workers.woken import WokenWorker

log = structlog.get_logger()

# A look has 6 s; its two transactions are short. arq keeps a killed worker's job for the longest of these and 10 s
# more, but nothing waits for that: the sweep queues its notices again in a job of their own.
_JOB_SECONDS = 30
_SWEEP_SECONDS = 10
_RECONCILE_SECONDS = 60
_REFUND_SECONDS = 180
# Jobs that are waiting to join a batch count too.
_JOBS_AT_ONCE = 200
# arq's own command has only its poll.
_ARQ_POLL_SECONDS = 0.05
_STOP_SECONDS = 10.0
_RETRY_SECONDS = 0.5

_OPTIONS: dict[str, Any] = {
    "functions": (
        func(verify_notices, name=VERIFY, timeout=_JOB_SECONDS, keep_result=0, max_tries=100),
        func(search_payments, name=SEARCH, timeout=_JOB_SECONDS, keep_result=0, max_tries=100),
    ),
    # Postgres says what is due; a tick only looks there, so a missed tick loses nothing.
    "cron_jobs": (
        cron(sweep, second=set(range(0, 60, 2)), timeout=_SWEEP_SECONDS, run_at_startup=True),
        cron(reconcile, second=set(range(1, 60, 2)), timeout=_RECONCILE_SECONDS, run_at_startup=True),
        cron(search_payments, second=set(range(0, 60, 2)), timeout=_JOB_SECONDS),
        cron(prune, minute=17, timeout=_RECONCILE_SECONDS),
        cron(intend_refunds, second={7, 27, 47}, timeout=_RECONCILE_SECONDS),
        # A turn sends up to 5 refunds, each after two looks of 6 s at most, and its call has 20 s.
        cron(send_refunds, second=set(range(0, 60, 5)), timeout=_REFUND_SECONDS),
        cron(close_refunds, second=set(range(3, 60, 5)), timeout=_REFUND_SECONDS),
    ),
    "queue_name": QUEUE_NAME,
    "max_jobs": _JOBS_AT_ONCE,
    "keep_result": 0,
    "log_results": False,
    "job_completion_wait": int(_STOP_SECONDS),
    "job_serializer": serialize,
    "job_deserializer": deserialize,
}


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, then finish what is under way. A Redis that goes away does not end the worker."""
    stopping, current = asyncio.Event(), list[WokenWorker]()

    def stop(signum: signal.Signals) -> None:
        stopping.set()
        for worker in current:
            worker.handle_sig_wait_for_completion(signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop, signum)
    async with make_parts(settings) as parts:
        log.info("worker.started")
        while not stopping.is_set():
            redis = connect(settings.redis_url.get_secret_value())
            worker = WokenWorker(redis_pool=redis, ctx=_context(parts), **_OPTIONS)
            current[:] = [worker]
            try:
                await say_weaknesses(redis)
                heed_cancellation()
                if not stopping.is_set():  # a signal that came meanwhile found no loop of arq's to stop
                    await _work(worker, parts.vitals)
            finally:
                await redis.aclose(close_connection_pool=True)
            if not stopping.is_set():
                await asyncio.sleep(_RETRY_SECONDS)
    log.info("worker.stopped")


async def _work(worker: WokenWorker, vitals: Vitals) -> None:
    """Run arq's loop until it is stopped or Redis goes away; what was under way is finished first."""
    listening = asyncio.create_task(listen(worker))
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        ours = asyncio.current_task()
        if ours and ours.cancelling():
            raise  # this task is cancelled, not just arq's loop, which a signal ends
    except REDIS_AWAY as error:
        log.warning("worker.without_redis", reason=type(error).__name__)
        vitals.trouble = f"Redis: {redis_reason(error).text}"
    finally:
        listening.cancel()
        ending = [listening, *worker.under_way()]
        _, late = await asyncio.wait(ending, timeout=_STOP_SECONDS)
        for task in late:  # it would go on with a Redis that is closed
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def listen(worker: WokenWorker) -> None:
    """Tell the worker of each job that is named to it, and that others may have been queued."""
    async for message in messages(worker.pool, WAKE_CHANNEL, worker.channel):
        match _read(message):
            case [str(job_id), int(due_at_ms), list(ids)]:
                worker.begin(job_id, due_at_ms, ids)
            case _:
                worker.woken.set()


def _read(message: bytes | None) -> Any:
    try:
        return deserialize(message or b"")
    except ValueError:
        return None


def _context(parts: Parts) -> dict[str, Any]:
    return {PARTS: parts, REFUNDER: parts.refunder, SEARCHER: parts.searcher}


def _arq_settings() -> dict[str, Any]:
    """Return the worker's settings for arq's own command. The client bounds its commands in time; arq's would not."""
    try:
        settings = Settings.load().require("redis_url")
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    parts = make_parts(settings)

    async def start(ctx: dict[str, Any]) -> None:
        ctx.update(_context(await parts.__aenter__()))

    async def stop(ctx: dict[str, Any]) -> None:
        await parts.__aexit__(None, None, None)

    return {
        **_OPTIONS,
        "redis_pool": connect(settings.redis_url.get_secret_value()),
        "poll_delay": _ARQ_POLL_SECONDS,
        "on_startup": start,
        "on_shutdown": stop,
    }


def __getattr__(name: str) -> type:
    """Make `WorkerSettings` when it is asked for, because it reads the settings, which an import should not."""
    if name == "WorkerSettings":
        return type(name, (), _arq_settings())
    raise AttributeError(name)
