"""There is one definition of an open problem, and one number of them everywhere."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from cli.checks.service import check_problems
from service.db import problems, promise
from service.db.pool import in_transaction
from service.db.problems import Counts, OpenProblem
from service.domain.ownership import EVERYTHING, Ours
from service.settings import Settings
from tests.running import RunningService, bearer, running_receiver
from tests.service.refunding import Shop

MANY = 1_000


@pytest.fixture
async def receiver_only(settings: Settings) -> AsyncIterator[RunningService]:
    async with running_receiver(settings) as running:
        yield running


async def _counts(shop: Shop, ours: Ours = EVERYTHING) -> Counts:
    return await in_transaction(shop.pool, problems.count, ours, MANY)


async def _listed(shop: Shop) -> list[OpenProblem]:
    return await in_transaction(shop.pool, problems.of_orders, MANY)


async def _resolve(shop: Shop, imp_uid: str) -> None:
    rows = await in_transaction(shop.pool, problems.of_payment, imp_uid)
    await in_transaction(shop.pool, problems.resolve, rows, "kim", "seen")


async def test_counts_agree_everywhere(shop: Shop, receiver_only: RunningService, settings: Settings) -> None:
    """The promise, the metrics, `doctor` and the list count the same: each problem once, and none that is resolved."""
    for number in range(3):
        await shop.paid_wrongly(f"order-{number}", 100)
    await shop.paid_wrongly("order-3", 100, currency="USD")
    resolved = await shop.paid_wrongly("order-4", 100)
    await _resolve(shop, resolved)
    await shop.announce("order-9", (await shop.sandbox.pay("order-9", 6.0, currency="USD"))["imp_uid"])
    _, body = await receiver_only.call("GET", "/healthz/promise", headers=bearer())
    assert (body["open_problems"], body["unregistered_payments"]) == (5, 1)
    _, text = await receiver_only.call("GET", "/metrics", headers=bearer())
    assert "\nportone_orders_promise_open_problems 5.0\n" in text
    assert "\nportone_orders_promise_unregistered_payments 1.0\n" in text
    assert len(await _listed(shop)) == 5
    [sentence] = await check_problems(settings)
    assert sentence.startswith("5 problems need a person")


async def test_a_problem_that_is_found_again_is_open_again(shop: Shop) -> None:
    """A resolution closes the problem that a person saw, not the same kind when it is found again later."""
    imp_uid = await shop.paid_wrongly("order-1", 100)
    await _resolve(shop, imp_uid)
    assert (await _counts(shop)).open_problems == 0
    # The order was without it for a while, and has it again.
    await shop.pool.execute("UPDATE resolutions SET at = at - interval '1 hour'")
    await shop.pool.execute(
        "UPDATE orders SET version = version + 2;"
        "INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,"
        " problems, cause)"
        " SELECT merchant_uid, version - 1, state, amount, currency, 0, 0, '[]'::jsonb, 'look' FROM orders"
        " UNION ALL SELECT merchant_uid, version, state, amount, currency, 0, 0, problems, 'look' FROM orders"
    )
    assert [(problem.kind, problem.resolved) for problem in await _listed(shop)] == [("wrong_amount", False)]


async def test_foreign_money_is_no_problem_of_an_order(shop: Shop, settings: Settings) -> None:
    """Money of unregistered orders is counted apart, and is a fault for `doctor` only where it is known to be ours."""
    for number in range(3):
        order = f"shop-{number}"
        await shop.announce(order, (await shop.sandbox.pay(order, 100))["imp_uid"])
    await shop.announce("else-1", (await shop.sandbox.pay("else-1", 100))["imp_uid"])
    assert await _counts(shop) == Counts(0, 4)
    assert await _counts(shop, Ours(("shop-",))) == Counts(0, 3)
    assert await check_problems(settings) == []
    [sentence] = await check_problems(settings.model_copy(update={"order_prefixes": ("shop-",)}))
    assert sentence.startswith("3 payments hold money of unregistered orders")


async def test_money_is_foreign_no_more_once_its_order_is_registered(shop: Shop) -> None:
    """An order that is registered later takes its money out of the count, and so does a resolution."""
    imp_uids = []
    for order in ("order-1", "order-2"):
        imp_uids.append((await shop.sandbox.pay(order, 64900))["imp_uid"])
        await shop.announce(order, imp_uids[-1])
    assert await _counts(shop) == Counts(0, 2)
    await shop.order("order-1")
    await _resolve(shop, imp_uids[1])
    assert await _counts(shop) == Counts(0, 0)


async def test_what_waits_for_an_order_raises_no_alarm(shop: Shop) -> None:
    """Notices that are parked for an order that nobody registered are counted apart from the others."""
    foreign = (await shop.sandbox.control("POST", "bulk", count=7, prefix="else", amount=10))["imp_uids"]
    await shop.announce("", *foreign, "imp_unknown")
    measured = await in_transaction(shop.pool, promise.measure, [])
    assert (measured.parked_notices, measured.parked_unregistered) == (1, 7)


async def test_what_began_before_the_cut_off_is_not_ours(shop: Shop) -> None:
    """A payment of an unregistered order that began before PAYMENTS_SINCE is not counted."""
    await shop.announce("order-9", (await shop.sandbox.pay("order-9", 100))["imp_uid"])
    began = await shop.pool.fetchval("SELECT started_at FROM payments")
    assert await _counts(shop, Ours(since=began)) == Counts(0, 1)
    assert await _counts(shop, Ours(since=began + timedelta(seconds=1))) == Counts(0, 0)
