"""The mistakes of other integrations, each a test with its number in docs/portone.md §4.

Number 16 has its own file, `http/test_garbage_headers.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from sandbox.errors import Refused
from sandbox.world import WORLD
from service.db import notices
from service.db.pool import Pool, in_transaction, open_pool
from service.domain.notice import Notice, Source
from service.domain.payment import ACCOUNT
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.portone.client import PortOne
from service.settings import Settings
from service.usecases.verification import Verifier
from tests.running import RunningService, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.refunding import Shop, due, make_refunder
from workers.parts import Parts


@pytest.fixture
async def slow_and_quick(verifier: Verifier, database_url: str) -> AsyncIterator[tuple[Verifier, Verifier]]:
    """Two workers that may look at one payment at the same time."""
    pool = await open_pool(database_url)
    often = replace(verifier.times, spacing=timedelta())
    yield replace(verifier, times=often), replace(verifier, pool=pool, times=often)
    await pool.close()


async def _paid(sandbox: RunningSandbox, merchant_uid: str = "order-1", **terms: object) -> str:
    return str((await sandbox.pay(merchant_uid, 64900, **terms))["imp_uid"])


async def _record(pool: Pool, imp_uid: str, status: str) -> Notice:
    notice = Notice(new_notice_id(), Source.WEBHOOK, imp_uid, "order-1", claimed_status=status)
    await in_transaction(pool, notices.record, [notice], Timetable().queued)
    return notice


@pytest.mark.parametrize("price", [64900, 1])
async def test_1_a_payment_replayed_onto_another_order(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, price: int
) -> None:
    """The order is found by PortOne's number and the amounts are compared, whether the price is equal or not."""
    await service.register("mine", price)
    await service.register("order-1")
    status, body = await service.complete(await _paid(sandbox), "mine")
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:other-order")
    await service.becomes("order-1", state="paid")
    assert await stored.events(pool, "mine") == [(1, "pending")]


async def test_2_the_order_that_is_checked_is_the_one_that_is_written(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A webhook that names another order than the payment's changes only the payment's order."""
    await service.register("mine")
    await service.register("order-1")
    imp_uid = await _paid(sandbox, webhook=False)
    body = {"imp_uid": imp_uid, "merchant_uid": "mine", "status": "paid"}
    assert (await service.call("POST", "/webhooks/portone/v1", json=body))[0] == 200
    await service.becomes("order-1", state="paid")
    assert await stored.events(pool, "mine") == [(1, "pending")]


async def test_3_a_second_notice_for_an_imp_uid(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """The moves ready → paid → cancelled of one payment are three changes, and none is a duplicate."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900, pay_method="vbank"))["imp_uid"]
    for action, state in (("issue", "awaiting_deposit"), ("deposit", "paid"), ("cancel", "cancelled")):
        await sandbox.move(imp_uid, action)
        await service.becomes("order-1", state=state)
    states = [state for _, state in await stored.events(pool, "order-1")]
    assert states == ["pending", "awaiting_deposit", "paid", "cancelled"]


async def test_4_the_webhook_comes_first(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """An order that is paid already is a success for every later completion call."""
    await service.register("order-1")
    imp_uid = await _paid(sandbox)
    await service.becomes("order-1", state="paid")
    for _ in range(3):
        assert await service.complete(imp_uid, "order-1") == (200, {"merchant_uid": "order-1", "state": "paid"})
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_5_a_decision_on_what_is_newest(
    sandbox: RunningSandbox, pool: Pool, slow_and_quick: tuple[Verifier, Verifier]
) -> None:
    """When two workers settle two payments of an order, the second to lock it reads what the first wrote."""
    await stored.register_order(pool, "order-1")
    batch = [await _record(pool, await _paid(sandbox, force=True, webhook=False), "paid") for _ in range(2)]
    await asyncio.gather(*(worker.verify([notice.id]) for worker, notice in zip(slow_and_quick, batch, strict=True)))
    row = await stored.order(pool, "order-1")
    assert (row["state"], row["paid_amount"]) == ("paid", 64900)
    assert [kind for kind, _ in await stored.problems(pool, "order-1")] == ["duplicate_payment"]


@pytest.mark.parametrize(("number", "fault"), [(6, "401"), (7, "reset")])
async def test_6_and_7_a_failed_look(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, number: int, fault: str
) -> None:
    """A 401 makes no order paid (6), and a communication error makes no order failed (7)."""
    await service.register("order-1")
    await sandbox.faults(api_answer=fault)
    status, _ = await service.complete(await _paid(sandbox), "order-1", headers={"Prefer": "wait=1"})
    assert status == 202, number
    assert await stored.events(pool, "order-1") == [(1, "pending")]
    await sandbox.faults()
    await service.becomes("order-1", state="paid")


async def test_8_failed_is_not_final(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A payment that failed and is paid later pays its order."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900, pay_method="paypal"))["imp_uid"]
    await sandbox.move(imp_uid, "fail", webhook=True)
    await service.becomes("order-1", state="failed")
    await sandbox.move(imp_uid, "pay")
    await service.becomes("order-1", state="paid", paid_amount=64900)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "failed"), (3, "paid")]


async def test_9_partial_refunds(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """The refunded amount is PortOne's total, however often each refund is announced."""
    await service.register("order-1")
    imp_uid = await _paid(sandbox)
    await service.becomes("order-1", state="paid")
    await sandbox.faults(webhook_copies=3)
    for amount, cancelled, state in (
        (900, 900, "partially_cancelled"),
        (4000, 4900, "partially_cancelled"),
        (60000, 64900, "cancelled"),
    ):
        await sandbox.move(imp_uid, "cancel", amount=amount)
        await service.becomes("order-1", state=state, paid_amount=64900, cancelled_amount=cancelled)
    states = [state for _, state in await stored.events(pool, "order-1")]
    assert states == ["pending", "paid", "partially_cancelled", "partially_cancelled", "cancelled"]


async def test_10_the_test_channel(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A test payment is a problem, and the order stays unpaid."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900, sandbox=True))["imp_uid"]
    await service.becomes("order-1", state="pending", problems=[{"kind": "test_channel", "imp_uid": imp_uid}])
    assert await stored.never_paid(pool)


async def test_11_an_unknown_order(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A payment of an unknown order is acknowledged, stored, and settled when the order is registered."""
    imp_uid = await _paid(sandbox)
    [delivery] = (await sandbox.webhooks())["deliveries"]
    assert delivery["answer_status"] == 200

    async def is_stored() -> bool:
        return await stored.payment(pool, imp_uid) is not None

    await until(is_stored)
    assert (await service.register("order-1"))["state"] == "paid"


@pytest.mark.parametrize("channel", ["refuses", "makes it later"])
async def test_12_http_200_is_not_cancelled(
    sandbox: RunningSandbox, pool: Pool, shop: Shop, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    """A cancel that is answered 200 with code 1, or with code 0 and no refund yet, has refunded nothing."""
    refunder = make_refunder(shop.verifier, cast("PortOne", shop.verifier.accounts[ACCOUNT]))
    duplicate = await due(shop, refunder, async_cancel=channel != "refuses")
    with monkeypatch.context() as closed:
        if channel == "refuses":
            closed.setattr(sandbox.app[WORLD].ledger, "cancel", _refuse)
        assert await refunder.refund_due() == 1
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["answer"]) in (("refused", "refused"), ("asked", "accepted"))
    row = await stored.payment(pool, duplicate)
    assert row is not None
    assert (row["status"], row["cancelled_amount"]) == ("paid", 0)
    assert await shop.problems("order-1") == [("duplicate_payment", duplicate)]


def _refuse(payment: object, refund: object) -> None:
    """Let the sandbox answer HTTP 200 with code 1."""
    raise Refused("이미 전액취소된 주문입니다.")


@pytest.mark.usefixtures("still_limits")
@pytest.mark.usefixtures("still_limits")
async def test_13_an_address_is_no_protection(settings: Settings, pool: Pool) -> None:
    """A caller that claims PortOne's address gets neither more calls nor more trust."""
    limited = settings.model_copy(update={"completions_per_client": 1.0, "completions_per_second": 1.0})
    async with running_receiver(limited) as receiver:
        answers = [
            await receiver.complete("imp_1", "order-1", headers={"X-Forwarded-For": address, "Prefer": "wait=0"})
            for address in ("52.78.5.241", "52.78.48.223", "52.78.100.19")
        ]
    assert [status for status, _ in answers] == [202, 202, 429]
    assert await stored.count(pool, "payments") == 0


async def test_14_one_token_for_many_calls(service: RunningService, sandbox: RunningSandbox) -> None:
    """Ten payments one after the other cost ten looks and one token."""
    for number in range(10):
        await service.register(f"order-{number}")
        await _paid(sandbox, f"order-{number}")
        await service.becomes(f"order-{number}", state="paid")
    assert (await sandbox.calls())["by_template"]["POST /users/getToken"] == 1


@pytest.mark.parametrize("imp_uid", ["imp_1234567890", "imp_test", "test", "imp_000000000000"])
async def test_15_no_magic_imp_uid(service: RunningService, pool: Pool, imp_uid: str) -> None:
    """No imp_uid is accepted as paid without PortOne's answer."""
    await service.register("order-1")
    status, _ = await service.decided(imp_uid, "order-1")
    assert status == 400
    assert await stored.events(pool, "order-1") == [(1, "pending")]


async def test_17_a_slow_reader(
    sandbox: RunningSandbox, pool: Pool, slow_and_quick: tuple[Verifier, Verifier], parts: Parts
) -> None:
    """A look that began before the deposit and was answered after it does not overwrite the newer state."""
    slow, quick = slow_and_quick
    await stored.register_order(pool, "order-1")
    imp_uid = (await sandbox.open("order-1", 64900, pay_method="vbank"))["imp_uid"]
    await sandbox.move(imp_uid, "issue", webhook=False)
    older, newer = [await _record(pool, imp_uid, status) for status in ("ready", "paid")]
    request_sent, answer_released = asyncio.Event(), asyncio.Event()

    class Slow:
        """PortOne, whose answer is slow to arrive."""

        async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
            answer = await parts.verifier.accounts[ACCOUNT].payment(imp_uid, tier, include_sandbox=include_sandbox)
            request_sent.set()
            await answer_released.wait()
            return answer

        async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
            raise AssertionError("one payment is one single look")

    late = asyncio.create_task(replace(slow, accounts={ACCOUNT: Slow()}).verify([older.id]))
    await request_sent.wait()
    await sandbox.move(imp_uid, "deposit", webhook=False)
    await quick.verify([newer.id])
    answer_released.set()
    await late
    row = await stored.payment(pool, imp_uid)
    assert row is not None
    assert (row["status"], row["lesser"]) == ("paid", None)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
