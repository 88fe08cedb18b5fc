"""Notices share looks, and any number of them in any order ends the same (docs/design.md §2.7, §2.9)."""

import asyncio
import time

import pytest

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

PAID = (200, {"merchant_uid": "order-1", "state": "paid"})


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"return_url": "https://shop.example.test/done"})


async def _looks(sandbox: RunningSandbox, imp_uid: str) -> int:
    looks: int = (await sandbox.calls())["by_imp_uid"].get(imp_uid, 0)
    return looks


def _at_most(began: float) -> int:
    """Return how many looks at a payment may have begun by now: one at once, then two a second."""
    return max(2, 1 + int(2 * (time.monotonic() - began)))


async def _redirect(service: RunningService, imp_uid: str) -> str:
    query = {"imp_uid": imp_uid, "merchant_uid": "order-1"}
    async with service.session.get(f"{service.url}/payment-redirect", params=query, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.headers["Location"]


async def _all_handled(pool: Pool, imp_uid: str, count: int) -> None:
    """Wait until this many notices were handled, in however few rows."""

    async def handled() -> bool:
        rows = await stored.notices(pool, imp_uid)
        return all(row["handled_at"] for row in rows) and sum(row["arrivals"] for row in rows) == count

    await until(handled)


async def test_all_at_once(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Ten webhooks, a completion call and a redirect at once make one version, one event and few looks."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900, webhook=False))["imp_uid"]
    began = time.monotonic()
    sent, completed, landed = await asyncio.gather(
        sandbox.send_webhook(imp_uid, times=5, format="both"),
        service.complete(imp_uid, "order-1"),
        _redirect(service, imp_uid),
    )
    assert [delivery["answer_status"] for delivery in sent["deliveries"]] == [200] * 10
    assert completed == PAID
    assert landed == "https://shop.example.test/done?merchant_uid=order-1&state=paid"
    await _all_handled(pool, imp_uid, 12)
    assert (await stored.order(pool, "order-1"))["version"] == 2
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    assert await _looks(sandbox, imp_uid) <= _at_most(began)


async def test_webhook_first(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A completion call after the webhook is answered from the stored payment, without a look."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", state="paid")
    assert await service.complete(imp_uid, "order-1") == PAID
    await _all_handled(pool, imp_uid, 2)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    assert await _looks(sandbox, imp_uid) == 1


async def test_completion_first(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A webhook after the completion call changes nothing and costs no look."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900, webhook=False))["imp_uid"]
    assert await service.complete(imp_uid, "order-1") == PAID
    await sandbox.send_webhook(imp_uid)
    await _all_handled(pool, imp_uid, 2)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    assert await _looks(sandbox, imp_uid) == 1


async def test_the_same_instant(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A webhook and its completion call at once make one version, with at most two looks."""

    async def pay(number: int) -> None:
        merchant_uid = f"order-{number}"
        await service.register(merchant_uid)
        imp_uid = (await sandbox.pay(merchant_uid, 64900, webhook=False))["imp_uid"]
        _, (status, body) = await asyncio.gather(sandbox.send_webhook(imp_uid), service.complete(imp_uid, merchant_uid))
        assert (status, body) == (200, {"merchant_uid": merchant_uid, "state": "paid"})
        await _all_handled(pool, imp_uid, 2)
        assert await stored.events(pool, merchant_uid) == [(1, "pending"), (2, "paid")]
        assert await _looks(sandbox, imp_uid) <= 2

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(pay(number))


async def test_a_refund_is_looked_at_again(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A second notice of an imp_uid that claims more than is stored is never ignored as a duplicate."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", state="paid")
    await sandbox.move(imp_uid, "cancel", reason="고객 변심")
    await service.becomes("order-1", state="cancelled", paid_amount=64900, cancelled_amount=64900)
    await _all_handled(pool, imp_uid, 2)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid"), (3, "cancelled")]


async def test_no_more_than_two_looks_a_second(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Eight completion calls for an open window cost two looks a second."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900))["imp_uid"]
    began = time.monotonic()
    calls = (service.complete(imp_uid, "order-1", headers={"Prefer": "wait=1"}) for _ in range(8))
    assert {status for status, _ in await asyncio.gather(*calls)} == {202}
    assert await _looks(sandbox, imp_uid) <= _at_most(began)
    assert await stored.events(pool, "order-1") == [(1, "pending")]
