"""Check the running service: its receivers and workers, its promise, and what a person must see."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version

from cli.checks.databases import ask_postgres
from cli.checks.portone import key_setting
from cli.processes import birth
from service.db import feed, notice_list, problems, processes, promise
from service.db.feed import FeedWriter
from service.db.processes import Condition, RunningProcess
from service.domain.payment import ACCOUNT, Store
from service.settings import Settings
from service.usecases.promise import broken_promises

CLOCK_SECONDS = 30.0
# Where others of its kind work, one that is gone for so long was taken away on purpose.
_MISSED_SECONDS = 3600.0
# A transaction of ours that writes events ends in milliseconds.
_WRITES_SECONDS = 2.0
# One call that failed is no absence; the ledger scan asks every minute.
_AWAY_SECONDS = 90.0
_START = {"receiver": "portone-orders serve", "worker": "portone-orders worker"}


async def check_receivers(settings: Settings) -> list[str]:
    """Check that a receiver runs, and that each is well."""
    return faults_of("receiver", await ask_postgres(settings, processes.read))


async def check_workers(settings: Settings) -> list[str]:
    """Check that a worker runs, and that each is well."""
    return faults_of("worker", await ask_postgres(settings, processes.read))


def faults_of(kind: str, every: Sequence[RunningProcess]) -> list[str]:
    """Return a sentence for each fault of the processes of one kind."""
    ours = [process for process in every if process.kind == kind]
    alive = [process for process in ours if not process.is_silent]
    silent = [process for process in ours if process.is_silent]
    missed = [process for process in silent if not alive or process.silent_seconds < _MISSED_SECONDS]
    if not alive and not missed:
        return [f"No {kind} runs on this database: start one with `{_START[kind]}`."]
    faults = [_silence(process) for process in missed]
    return faults + [f"The {process.name} {fault}." for process in alive for fault in _faults(process)]


def _silence(process: RunningProcess) -> str:
    here = process.host == socket.gethostname()
    state = "is frozen, was killed, or cannot reach Postgres"
    if here:
        state = "is frozen, or cannot reach Postgres" if birth(process.pid) else "was killed"
    heard = f"{process.silent_seconds:.0f} s ago (version {process.version}, started {_time(process)})"
    return f"The {process.name} {state}: it was last heard of {heard}. Restart it."


def _faults(process: RunningProcess) -> Iterator[str]:
    ours = version("portone-orders")
    if process.version != ours:
        yield f"is of version {process.version}, and this command is of {ours}: restart it with this version"
    if abs(process.clock_ahead_seconds) > CLOCK_SECONDS:
        yield f"has a clock {off_by(process.clock_ahead_seconds)} Postgres': set its machine's clock (NTP)"
    if process.trouble:
        setting = "REDIS_URL" if process.trouble.startswith("Redis") else "DATABASE_URL"
        yield f"takes up no notices ({process.trouble}): see to that, or correct its {setting} and restart it"
    elif process.condition is Condition.IDLE:
        yield f"lives, but has taken up no notices for {process.unswept_seconds:.0f} s: restart it"
    for account, since in process.refused_accounts.items():
        refused = f"has a key that PortOne refuses since {datetime.fromisoformat(since):%Y-%m-%d %H:%M:%S %Z}"
        yield f"{refused}: correct its {key_setting(account)}, and restart it"
    for account, since in process.away_accounts.items():
        at = datetime.fromisoformat(since)
        if (process.seen_at - at).total_seconds() > _AWAY_SECONDS:
            yield f"gets no answer from PortOne ({account}) since {at:%Y-%m-%d %H:%M:%S %Z}: let its machine reach it"


def off_by(seconds: float) -> str:
    """Return how far a clock is off, as `3600 s ahead of`."""
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"


def _time(process: RunningProcess) -> str:
    return f"{process.started_at:%Y-%m-%d %H:%M:%S %Z}"


async def check_promise(settings: Settings) -> list[str]:
    """Check the promise as `/healthz/promise` does, by the limits of the running receiver."""
    measured = await ask_postgres(settings, promise.measure, settings.stores, settings.ours)
    limits = await _limits(settings)
    return [
        f"{sentence[0].upper()}{sentence[1:]}: see docs/runbook.md." for sentence in broken_promises(measured, limits)
    ]


async def _limits(settings: Settings) -> Settings:
    every = await ask_postgres(settings, processes.read)
    running = next((process.settings for process in every if process.kind == "receiver" and not process.is_silent), {})
    names = [name for name in Settings.model_fields if name.startswith("promise_") and name.upper() in running]
    types = {name: type(getattr(settings, name)) for name in names}
    return settings.model_copy(update={name: types[name](running[name.upper()]) for name in names})


async def check_feed(settings: Settings) -> list[str]:
    """Check that no transaction holds the feed back, by having written events and not ending for two seconds."""
    before = {writer.name for writer in await ask_postgres(settings, feed.writers)}
    if not before:
        return []
    await asyncio.sleep(_WRITES_SECONDS)
    return [_holds_back(writer) for writer in await ask_postgres(settings, feed.writers) if writer.name in before]


def _holds_back(writer: FeedWriter) -> str:
    if writer.pid is None:
        return "A prepared transaction that has written to order_events holds the feed back: see pg_prepared_xacts."
    since = f" for {writer.seconds:.0f} s" if writer.seconds is not None else ""
    what = f"pid {writer.pid} ({writer.application or 'without a name'}{f', {writer.state}' if writer.state else ''})"
    return (
        f"The transaction of {what} has been open{since}, and holds the feed back, because it has written to"
        f" order_events: end it there, or with SELECT pg_terminate_backend({writer.pid})."
    )


async def check_stores(settings: Settings) -> list[str]:
    """Check that no notice waits for an account or a tier that is not configured."""
    counts = await ask_postgres(settings, notice_list.count_by_store)
    return [_unknown(store, count) for store, count in counts.items() if store not in settings.stores]


def _unknown(store: Store, count: int) -> str:
    notices = "1 notice names" if count == 1 else f"{count} notices name"
    if store.tier:
        where = "PORTONE_TIERS" if store.account == ACCOUNT else f"the tiers of {store.account} in PORTONE_ACCOUNTS"
        missing = f"the tier {store.tier} of the account {store.account}"
    else:
        where, missing = "PORTONE_ACCOUNTS", f"the account {store.account}"
    return f"{notices} {missing}, which is not configured: add it to {where}, and restart receivers and workers."


async def check_problems(settings: Settings) -> list[str]:
    """Check that no order has a problem that a person must see.

    Money of unregistered orders is a fault only where ORDER_PREFIXES says how ours begin: else it may be anybody's.
    """
    counts = await ask_postgres(settings, problems.count, settings.ours, promise.PROBLEMS_COUNTED_MAX)
    faults = []
    if counts.open_problems:
        is_one = counts.open_problems == 1
        needs = "1 problem needs" if is_one else f"{counts.open_problems} problems need"
        faults.append(f"{needs} a person: see `portone-orders problems list`.")
    if counts.unregistered_payments and settings.order_prefixes:
        is_one = counts.unregistered_payments == 1
        hold = "1 payment holds" if is_one else f"{counts.unregistered_payments} payments hold"
        faults.append(f"{hold} money of unregistered orders: see `portone-orders problems list --foreign`.")
    return faults
