"""Verifying an order asks PortOne for its payments now, and answers what came of it."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from service.db.pool import Pool
from tests.running import PATIENT, RunningService, bearer
from tests.sandbox_client import RunningSandbox
from tests.service import stored

PATH = "/orders/order-1/verify"


async def _verify(service: RunningService, path: str = PATH, **headers: str) -> tuple[int, Any]:
    return await service.call("POST", path, headers=bearer() | PATIENT | headers)


async def _questions(sandbox: RunningSandbox) -> int:
    return sum((await sandbox.calls())["by_template"].values())


async def test_a_payment_that_no_notice_told(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A payment whose webhook was lost is found, settled and answered."""
    await sandbox.faults(webhook_drop=True)
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    status, body = await _verify(service)
    assert (status, body["changed"], body["window_open"]) == (200, True, False)
    assert [(payment["imp_uid"], payment["status"]) for payment in body["payments"]] == [(imp_uid, "paid")]
    assert body["order"] == await service.read("order-1")
    assert (body["order"]["state"], body["order"]["version"]) == ("paid", 2)
    asked_at = datetime.fromisoformat(body["asked_at"])
    assert asked_at <= datetime.fromisoformat(body["order"]["updated_at"])
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_a_refund_that_no_notice_told(service: RunningService, sandbox: RunningSandbox) -> None:
    """Money that was given back in PortOne's console is found too, although the order was settled."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", state="paid")
    await sandbox.faults(webhook_drop=True)
    await sandbox.move(imp_uid, "cancel")
    status, body = await _verify(service)
    assert (status, body["changed"], body["order"]["state"]) == (200, True, "cancelled")
    assert [payment["status"] for payment in body["payments"]] == ["cancelled"]


async def test_nothing_new(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """An order without payments, or whose payments are known, is answered as it is, in no new version."""
    await service.register("order-1")
    status, body = await _verify(service)
    assert (status, body["changed"], body["payments"], body["order"]["version"]) == (200, False, [], 1)
    await sandbox.open("order-1", 64900)
    status, body = await _verify(service)
    assert (status, body["window_open"], body["payments"]) == (200, True, [])
    assert await stored.events(pool, "order-1") == [(1, "pending")]


@pytest.mark.parametrize(("fault", "reason"), [("503", "portone-not-answering"), ("429", "portone-not-answering")])
async def test_portone_does_not_answer(
    service: RunningService, sandbox: RunningSandbox, fault: str, reason: str
) -> None:
    """While PortOne cannot be asked, the answer is 202 with the reason, and the worker goes on without the caller."""
    await service.register("order-1")
    await sandbox.faults(api_answer=fault, webhook_drop=True)
    await sandbox.pay("order-1", 64900)
    async with service.session.post(service.url + PATH, headers=bearer() | {"Prefer": "wait=2"}) as answer:
        body = await answer.json()
        assert (answer.status, "Retry-After" in answer.headers) == (202, True)
    assert body == {"merchant_uid": "order-1", "reason": reason, "read_on": "/orders/order-1"}
    await sandbox.faults()
    await service.becomes("order-1", state="paid")


async def test_no_worker(receiver: RunningService) -> None:
    """Without a worker, and with a wait of 0, nothing was looked at yet."""
    await receiver.register("order-1")
    for wait in ("0", "1"):
        status, body = await _verify(receiver, Prefer=f"wait={wait}")
        assert (status, body["reason"]) == (202, "not-looked-yet")


async def test_many_at_once_share_a_question(service: RunningService, sandbox: RunningSandbox) -> None:
    """Calls that come together are all answered, by a few questions to PortOne."""
    await service.register("order-1")
    asked = await _questions(sandbox)
    answers = await asyncio.gather(*(_verify(service) for _ in range(30)))
    assert [status for status, _ in answers] == [200] * 30
    assert await _questions(sandbox) - asked <= 5


async def test_whom_it_answers(receiver: RunningService) -> None:
    """It needs a key, and a registered order."""
    assert (await receiver.call("POST", PATH))[0] == 401
    status, body = await _verify(receiver)
    assert (status, body["type"]) == (404, "urn:portone-orders:problem:order-not-registered")
