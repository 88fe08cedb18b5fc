"""`portone-orders reconcile`: compare PortOne's own list with what is stored, now."""

import asyncio
import re
import time
from datetime import timedelta
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.errors import CommandFailed
from cli.operator import Databases, Who, Why, me, open_databases
from service.db import operator_actions
from service.db.pool import in_transaction
from service.domain.ownership import Ours
from service.domain.payment import Store
from service.domain.timetable import Timetable
from service.errors import NotAsked
from service.portone.accounts import open_accounts
from service.redis.budget import Budget, Lane
from service.redis.queue import connect
from service.usecases.reconciliation import Reconciler, differences

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=90)


def reconcile(
    since: Annotated[str, typer.Option(help="How far back: 30m, 12h, 2d; at most 90d.")] = "2d",
    dry_run: Annotated[bool, typer.Option(help="Only print the differences; change nothing.")] = False,
    who: Who = "",
    why: Why = "reconciled by hand",
) -> None:
    """Compare PortOne's list with what is stored, and have every difference looked at by the workers."""
    count = asyncio.run(_reconcile(_seconds_ago(since), dry_run, who or me(), why))
    typer.echo(f"{count} payments differ." + (" Nothing was changed." if dry_run else " They will be looked at."))


def _seconds_ago(since: str) -> int:
    match = re.fullmatch(r"(\d{1,5})([mhd])", since)
    ago = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if ago is None or not timedelta() < ago <= _LONGEST:
        raise CommandFailed(f"--since must be like 30m, 12h or 2d, and at most 90d, not {since!r}.")
    return int(time.time() - ago.total_seconds())


async def _reconcile(since: int, dry_run: bool, who: str, why: str) -> int:
    async with open_databases() as databases:
        settings = databases.settings.require("portone_imp_key", "portone_imp_secret")
        redis = connect(settings.redis_url.get_secret_value())
        budget, times = Budget(redis, settings.calls_per_second), Timetable()
        try:
            if not dry_run:
                await in_transaction(
                    databases.pool, lambda db: operator_actions.append(db, who, why, "reconcile", [f"since {since}"])
                )
            async with open_accounts(settings.accounts, times) as accounts:
                reconciler = Reconciler(
                    databases.pool, databases.queue, accounts, budget, times, settings.stores, settings.ours
                )
                return await _walk_all(databases, reconciler, since, dry_run)
        finally:
            await redis.aclose(close_connection_pool=True)


async def _walk_all(databases: Databases, reconciler: Reconciler, since: int, dry_run: bool) -> int:
    """Walk every account and tier. If one cannot be asked, the others are walked first, then the command fails."""
    count, failures = 0, list[str]()
    for store in reconciler.stores:
        try:
            count += await _walk(databases, reconciler, store, since, dry_run)
        except NotAsked as error:
            failures.append(f"{store.account} {store.tier}".strip() + f": {error}")
    if failures:
        raise CommandFailed(f"{'; '.join(failures)} Try again later.")
    return count


async def _walk(databases: Databases, reconciler: Reconciler, store: Store, since: int, dry_run: bool) -> int:
    """Walk the pages of one account and tier to the end of the window."""
    count, page, more = 0, 0, True
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        bar = progress.add_task(f"{store.account} {store.tier}".strip(), total=None)
        while more:
            page += 1
            await reconciler.budget.take(Lane.BACKGROUND, 60, store.account)
            listed = await reconciler.accounts[store.account].ledger(store.tier, page, since=since)
            more = listed.more
            if dry_run:
                count += await _print_differences(databases, listed.payments, store, reconciler.ours, progress)
            else:
                count += await reconciler.compare(listed.payments, store)
            progress.update(bar, total=listed.total, advance=len(listed.payments))
    return count


async def _print_differences(
    databases: Databases, listed: list[object], store: Store, ours: Ours, progress: Progress
) -> int:
    differing = await in_transaction(databases.pool, lambda db: differences(db, listed, store, ours))
    for notice in differing:
        progress.console.print(f"{notice.imp_uid} of order {notice.merchant_uid}", markup=False, highlight=False)
    return len(differing)
