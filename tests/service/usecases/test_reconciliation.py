"""An order's state converges even if no notice ever arrives."""

import pytest

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, running_receiver, running_worker, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from workers.parts import Parts

# A hundred times as fast: the first silent check is due after 0.6 s, the ledger is walked every 0.6 s.
SCALE = 0.01


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"time_scale": SCALE})


async def test_a_lost_webhook_is_found_in_the_ledger(service: RunningService, sandbox: RunningSandbox) -> None:
    """A payment whose webhook is lost, and without a completion call, pays its order."""
    await sandbox.faults(webhook_drop=True)
    await service.register("order-1")
    await sandbox.pay("order-1", 64900)
    order = await service.becomes("order-1", state="paid", version=2)
    assert order["problems"] == []


async def test_a_refund_that_nobody_announces_is_found(service: RunningService, sandbox: RunningSandbox) -> None:
    """A refund whose webhook is lost shows on the order."""
    await service.register("order-1")
    payment = await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid")
    await sandbox.faults(webhook_drop=True)
    await sandbox.move(payment["imp_uid"], "cancel", amount=900)
    await service.becomes("order-1", state="partially_cancelled", cancelled_amount=900)


async def test_many_lost_webhooks_cost_few_calls(service: RunningService, sandbox: RunningSandbox) -> None:
    """300 unannounced payments are found by a walk and looked at in batches."""
    await sandbox.faults(webhook_drop=True)
    for number in range(300):
        await service.register(f"order-{number}", amount=1000)
    await sandbox.control("POST", "bulk", count=300, prefix="order", amount=1000)
    for number in (0, 150, 299):
        await service.becomes(f"order-{number}", state="paid")
    calls = (await sandbox.calls())["by_template"]
    assert calls.get("GET /payments/{imp_uid}", 0) <= 2


async def test_nothing_differs_costs_one_page(
    receiver: RunningService, sandbox: RunningSandbox, pool: Pool, parts: Parts
) -> None:
    """A walk ends at the first page that agrees, and records no notice."""
    await receiver.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    # By hand, because a worker's walk between the payment and its look would see a difference.
    await parts.verifier.verify([notice["id"] for notice in await stored.notices(pool, imp_uid)])
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    for walks in (1, 2):
        await pool.execute("UPDATE ledger_scans SET next_at = now()")
        assert await parts.reconciler.walk_ledger() == 0
        assert (await sandbox.calls())["by_template"]["GET /payments/status/{status}"] == walks
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE source = 'reconcile'") == 0


async def test_money_that_an_order_does_not_show_is_looked_at(
    receiver: RunningService, sandbox: RunningSandbox, pool: Pool, parts: Parts
) -> None:
    """A silent order with a payment that it does not show gets a look, and is paid; when it was asked about is kept."""
    await receiver.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await parts.verifier.verify([notice["id"] for notice in await stored.notices(pool, imp_uid)])
    # No way of ours leads here, so the order is put back by hand.
    await pool.execute("UPDATE orders SET state = 'pending', paid_amount = 0, imp_uid = NULL")
    await pool.execute("UPDATE order_checks SET next_check_at = now()")
    assert await parts.reconciler.ask_about_silent_orders() == 1
    assert await pool.fetchval("SELECT now() - asked_at < interval '1 minute' FROM order_checks")
    reconcile = await pool.fetchval("SELECT id FROM notices WHERE source = 'reconcile'")
    await parts.verifier.verify([reconcile])
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid"), (3, "paid")]


async def test_notices_parked_for_an_unknown_order_are_replayed(
    settings: Settings, pool: Pool, sandbox: RunningSandbox
) -> None:
    """A notice parked for an unregistered order is looked at again once the order is registered."""
    async with running_receiver(settings) as service, running_worker(settings):
        sandbox.send_webhooks_to(f"{service.url}/webhooks/portone/v1")
        await sandbox.pay("order-1", 64900)
        # The grace time of 10 minutes is 6 s here. The test sets its end instead of waiting.
        await _notice_becomes(pool, "order_not_registered", "due_at")
        await pool.execute("UPDATE notices SET received_at = now() - interval '1 hour', due_at = now()")
        await _notice_becomes(pool, "order_not_registered", "parked_at")
        await service.register("order-1")
        await service.becomes("order-1", state="paid")
        await _notice_becomes(pool, "served_by_stored_look", "handled_at")


async def _notice_becomes(pool: Pool, outcome: str, time: str) -> None:
    async def has_become() -> bool:
        row = await pool.fetchrow("SELECT * FROM notices")
        return row is not None and row["last_outcome"] == outcome and row[time] is not None

    await until(has_become)
