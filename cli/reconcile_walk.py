"""Walk PortOne's list for `portone-orders reconcile`, and have what differs looked at, or only name it."""

from cli.errors import CommandFailed
from cli.operator import Databases, open_databases
from cli.output import progress_bar
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

# How many payments differ, and the names of those that a dry run found.
Found = tuple[int, list[tuple[str, str]]]


async def walk(since: int, dry_run: bool, who: str, why: str) -> Found:
    """Walk the list since this time, in seconds of Unix, for whoever says why."""
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


async def _walk_all(databases: Databases, reconciler: Reconciler, since: int, dry_run: bool) -> Found:
    """Walk every account and tier. If one cannot be asked, the others are walked first, then the command fails."""
    count, named, failures = 0, list[tuple[str, str]](), list[str]()
    for store in reconciler.stores:
        try:
            more, names = await _walk(databases, reconciler, store, since, dry_run)
            count, named = count + more, named + names
        except NotAsked as error:
            failures.append(f"{store.account} {store.tier}".strip() + f": {error}")
    if failures:
        raise CommandFailed(f"{'; '.join(failures)} Try again later.")
    return count, named


async def _walk(databases: Databases, reconciler: Reconciler, store: Store, since: int, dry_run: bool) -> Found:
    """Walk the pages of one account and tier to the end of the window."""
    count, named, page, more = 0, list[tuple[str, str]](), 0, True
    with progress_bar() as progress:
        bar = progress.add_task(f"{store.account} {store.tier}".strip(), total=None)
        while more:
            page += 1
            await reconciler.budget.take(Lane.BACKGROUND, 60, store.account)
            listed = await reconciler.accounts[store.account].ledger(store.tier, page, since=since)
            more = listed.more
            if dry_run:
                named += await _names(databases, listed.payments, store, reconciler.ours)
            else:
                count += await reconciler.compare(listed.payments, store)
            progress.update(bar, total=listed.total, advance=len(listed.payments))
    return count + len(named), named


async def _names(databases: Databases, listed: list[object], store: Store, ours: Ours) -> list[tuple[str, str]]:
    differing = await in_transaction(databases.pool, lambda db: differences(db, listed, store, ours))
    return [(notice.imp_uid, notice.merchant_uid or "-") for notice in differing]
