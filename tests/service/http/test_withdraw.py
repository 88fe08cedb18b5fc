"""Withdrawing an order asks PortOne first, and is refused while money is there or coming (docs/portone.md §4.22)."""

import asyncio
import time
from typing import Any

import pytest

from service.db.pool import Pool
from tests.running import PATIENT, RunningService, bearer
from tests.sandbox_client import RunningSandbox
from tests.service import stored

ME = {"who": "kim", "why": "PortOne is down"}
_LONG_AGO = int(time.time()) - 3 * 24 * 3600


async def _withdraw(service: RunningService, body: Any = None, **headers: str) -> tuple[int, str]:
    """Withdraw order-1; return the status, and what it says of the order or why not."""
    status, answer = await service.call(
        "POST", "/orders/order-1/withdraw", json=body, headers=bearer() | PATIENT | headers
    )
    kind = str(answer.get("type", "")).removeprefix("urn:portone-orders:problem:")
    return status, kind or f"{answer['state']}, {answer['closed']}"


async def test_money_that_no_notice_told_keeps_an_order_open(service: RunningService, sandbox: RunningSandbox) -> None:
    """An order whose payment nobody announced is not withdrawn: PortOne is asked, and it becomes paid."""
    await sandbox.faults(webhook_drop=True)
    await service.register("order-1")
    await sandbox.pay("order-1", 64900)
    assert await _withdraw(service) == (409, "money-came")
    order = await service.read("order-1")
    assert (order["state"], order["closed"], order["problems"]) == ("paid", None, [])


async def test_an_account_that_takes_a_deposit_keeps_an_order_open(
    service: RunningService, sandbox: RunningSandbox
) -> None:
    """An issued account is money on its way, also one that no notice told; once it is closed the order may be."""
    await sandbox.faults(webhook_drop=True)
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900, pay_method="vbank"))["imp_uid"]
    await sandbox.move(imp_uid, "issue")
    assert await _withdraw(service) == (409, "deposit-awaited")
    await sandbox.move(imp_uid, "cancel")
    assert await _withdraw(service) == (200, "cancelled, withdrawn")


async def test_an_account_of_long_ago_does_not(service: RunningService, sandbox: RunningSandbox) -> None:
    """An account whose due date is over for longer than the grace takes no deposit any more."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900, pay_method="vbank"))["imp_uid"]
    await sandbox.move(imp_uid, "issue", vbank_date=_LONG_AGO)
    await service.becomes("order-1", state="awaiting_deposit")
    assert await _withdraw(service) == (200, "awaiting_deposit, withdrawn")


async def test_a_window_that_was_left_open_does_not(service: RunningService, sandbox: RunningSandbox) -> None:
    """A window is no money on its way, because most are abandoned."""
    await service.register("order-1")
    await sandbox.open("order-1", 64900)
    assert await _withdraw(service) == (200, "pending, withdrawn")


async def test_without_portone_nothing_is_withdrawn(service: RunningService, sandbox: RunningSandbox) -> None:
    """While PortOne cannot be asked, the answer is 503 with Retry-After, and the order stays open."""
    await service.register("order-1")
    await sandbox.faults(api_answer="503")
    path, headers = f"{service.url}/orders/order-1/withdraw", bearer() | {"Prefer": "wait=1"}
    async with service.session.post(path, headers=headers) as answer:
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        assert (await answer.json())["type"].endswith(":portone-not-asked")
    assert (await service.read("order-1"))["closed"] is None


async def test_a_person_may_force_it(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """With force an order is withdrawn although PortOne cannot be asked, and who and why are kept twice."""
    await service.register("order-1")
    await sandbox.faults(api_answer="503")
    assert await _withdraw(service, {"force": True, **ME}) == (200, "pending, withdrawn")
    actions = await pool.fetch("SELECT who, why, action, subject FROM operator_actions")
    assert [tuple(row) for row in actions] == [("kim", "PortOne is down", "orders.withdraw", "order-1")]
    event = await pool.fetchrow("SELECT cause, who, why FROM order_events WHERE version = 2")
    assert event is not None
    assert tuple(event) == ("withdrawal", "kim", "PortOne is down")
    assert await _withdraw(service, {"force": True, **ME}) == (200, "pending, withdrawn")
    assert await stored.count(pool, "operator_actions") == 1


async def test_force_does_not_close_an_order_that_holds_money(service: RunningService, sandbox: RunningSandbox) -> None:
    """Not even with force is an order withdrawn of which money is stored."""
    await service.register("order-1")
    await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid")
    assert await _withdraw(service, {"force": True, **ME}) == (409, "money-came")


@pytest.mark.parametrize("body", [{"force": True}, {"force": True, "who": "kim"}, {"force": 1}, {"foo": 1}, []])
async def test_force_is_signed(receiver: RunningService, pool: Pool, body: Any) -> None:
    """Force without who and why, or any other body, is refused with 400."""
    await receiver.register("order-1")
    assert await _withdraw(receiver, body) == (400, "invalid-order")
    assert (await stored.order(pool, "order-1"))["closed"] is None


async def test_what_is_known_costs_no_question(receiver: RunningService, pool: Pool) -> None:
    """A stale If-Match, and an order that is closed already, are answered without asking PortOne."""
    await receiver.register("order-1")
    assert await _withdraw(receiver, **{"If-Match": '"7"'}) == (412, "version-moved")
    await pool.execute("UPDATE orders SET closed = 'expired'")
    assert await _withdraw(receiver) == (200, "pending, expired")
    assert await stored.count(pool, "searches") == 0


async def test_withdrawn_twice_at_once(service: RunningService, pool: Pool) -> None:
    """Two withdrawals at once make one version."""
    await service.register("order-1")
    answers = await asyncio.gather(_withdraw(service), _withdraw(service))
    assert list(answers) == [(200, "pending, withdrawn")] * 2
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "pending")]
