"""A run of reconciliation covers several accounts, and a failure of one does not stop the others."""

from dataclasses import replace

import pytest

from service.db import ledger_scans
from service.db.pool import Pool, in_transaction
from service.domain.payment import Store
from service.errors import PortOneRefused
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from workers.parts import Parts

STORES = "SELECT array_agg(account || ':' || tier ORDER BY account, tier) FROM ledger_scans "


@pytest.fixture
async def refused(sandbox: RunningSandbox) -> None:
    """Change the default account's secret at PortOne."""
    await sandbox.control("POST", "account", account="default", imp_secret="rotated")


@pytest.mark.usefixtures("refused")
async def test_a_walk_goes_on_past_an_account_that_is_refused(parts: Parts, pool: Pool) -> None:
    """The ledgers of the other accounts are walked in the same run, and then the failure is raised."""
    await in_transaction(pool, ledger_scans.ensure, parts.reconciler.stores)
    await pool.execute("UPDATE ledger_scans SET next_at = now() - interval '1 hour' WHERE account = 'default'")
    with pytest.raises(PortOneRefused):
        await parts.reconciler.walk_ledger()
    assert await pool.fetchval(STORES + "WHERE last_completed_at IS NOT NULL") == ["shop-b:", "shop-b:abc"]


@pytest.mark.usefixtures("refused")
async def test_silent_orders_of_the_others_are_asked_about(parts: Parts, pool: Pool, sandbox: RunningSandbox) -> None:
    """The payments of the other accounts are found in the same run, whichever account comes first."""
    for store in parts.reconciler.stores:
        await stored.register_order(pool, f"order-{store.account}-{store.tier}", store=store)
    paid = await sandbox.pay("order-shop-b-abc", 64900, account="shop-b", tier="abc")
    await pool.execute("UPDATE order_checks SET next_check_at = now()")
    with pytest.raises(PortOneRefused):
        await parts.reconciler.ask_about_silent_orders()
    [row] = await stored.notices(pool, paid["imp_uid"])
    assert (row["account"], row["tier"], row["source"]) == ("shop-b", "abc", "reconcile")


async def test_the_ledger_of_an_account_that_was_removed_is_left(parts: Parts, pool: Pool) -> None:
    """A removed account's ledger is not walked, and its row stays in case the account returns."""
    await parts.reconciler.walk_ledger()
    await pool.execute(
        "UPDATE ledger_scans SET next_at = now() - CASE account || tier WHEN 'default' THEN interval '1 minute'"
        " ELSE interval '1 hour' END"
    )
    await replace(parts.reconciler, stores=[Store("default")]).walk_ledger()
    due = await pool.fetchval(STORES + "WHERE next_at < now()")
    assert due == ["default:abc", "shop-b:", "shop-b:abc"]
