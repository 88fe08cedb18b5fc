"""A payment of another amount, or of a closed order, may be accepted as it is, by a person who says why."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from service.db.pool import Pool
from service.portone.client import PortOne
from tests.running import PATIENT, RunningService, bearer
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.refunding import Shop, make_refunder
from workers.parts import Parts

ME = {"who": "kim", "why": "a shipping fee was added"}


async def _accept(service: RunningService, imp_uid: str, **headers: str) -> tuple[int, Any]:
    body = {"imp_uid": imp_uid, **ME}
    return await service.call("POST", "/orders/order-1/accept", json=body, headers=bearer() | headers)


async def _mismatched(service: RunningService, sandbox: RunningSandbox, amount: int = 67900) -> str:
    await service.register("order-1", 64900)
    imp_uid: str = (await sandbox.pay("order-1", amount))["imp_uid"]
    await service.becomes("order-1", state="mismatched")
    return imp_uid


async def test_money_of_another_amount_is_accepted(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """The order is paid by the amount that came, and keeps the registered one, who and why; again changes nothing."""
    imp_uid = await _mismatched(service, sandbox)
    for _ in range(2):
        status, order = await _accept(service, imp_uid)
        assert (status, order["state"], order["version"], order["problems"]) == (200, "paid", 3, [])
        assert (order["amount"], order["paid_amount"], order["registered_amount"]) == (67900, 67900, 64900)
    actions = await pool.fetch("SELECT who, why, action, subject FROM operator_actions")
    assert [tuple(row) for row in actions] == [("kim", "a shipping fee was added", "orders.accept", imp_uid)]
    event = await pool.fetchrow("SELECT state, amount, cause, who, why FROM order_events WHERE version = 3")
    assert event is not None
    assert tuple(event) == ("paid", 67900, "acceptance", "kim", "a shipping fee was added")


async def test_money_after_the_close_is_accepted(service: RunningService, sandbox: RunningSandbox) -> None:
    """An order that was withdrawn and paid afterwards is open again, and paid."""
    await service.register("order-1")
    await service.call("POST", "/orders/order-1/withdraw", headers=bearer() | PATIENT)
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", problems=[{"kind": "paid_after_close", "imp_uid": imp_uid}])
    status, order = await _accept(service, imp_uid)
    assert (status, order["state"], order["closed"], order["problems"]) == (200, "paid", None, [])
    assert order["registered_amount"] is None


async def test_what_is_refunded_later_shows(service: RunningService, sandbox: RunningSandbox) -> None:
    """An accepted payment goes on like any other: its refund cancels the order."""
    imp_uid = await _mismatched(service, sandbox)
    await _accept(service, imp_uid)
    await sandbox.move(imp_uid, "cancel")
    await service.becomes("order-1", state="cancelled", paid_amount=67900, cancelled_amount=67900)


async def test_what_cannot_be_accepted_is_said(service: RunningService, sandbox: RunningSandbox) -> None:
    """A payment of another currency, one that is not known, and a stale If-Match are refused, and change nothing."""
    await service.register("order-1", 64900)
    imp_uid = (await sandbox.pay("order-1", 649, currency="USD"))["imp_uid"]
    await service.becomes("order-1", state="mismatched")
    for name, why in ((imp_uid, "more than its amount disagrees"), ("imp_unknown", "no such payment")):
        status, problem = await _accept(service, name)
        assert (status, problem["type"].rpartition(":")[2], why in problem["detail"]) == (409, "not-acceptable", True)
    assert (await service.read("order-1"))["version"] == 2


async def test_an_acceptance_may_be_conditional(service: RunningService, sandbox: RunningSandbox) -> None:
    """A stale If-Match is refused with 412, the current one is not."""
    imp_uid = await _mismatched(service, sandbox)
    assert (await _accept(service, imp_uid, **{"If-Match": '"1"'}))[0] == 412
    assert (await _accept(service, imp_uid, **{"If-Match": '"2"'}))[0] == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"imp_uid": "imp_1"}, {"imp_uid": "imp_1", "who": "kim", "why": ""}, {"imp_uid": "a b", **ME}, {**ME}],
)
async def test_an_acceptance_is_signed(receiver: RunningService, body: Any) -> None:
    """Without who, why and a payment it is refused with 400, without a key with 401, and of no order with 404."""
    await receiver.register("order-1")
    path = "/orders/order-1/accept"
    signed = {"imp_uid": "imp_1", **ME}
    assert (await receiver.call("POST", path, json=body, headers=bearer()))[0] == 400
    assert (await receiver.call("POST", path, json=signed))[0] == 401
    assert (await receiver.call("POST", "/orders/x/accept", json=signed, headers=bearer()))[0] == 404


async def test_accepted_twice_at_once(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Two people who accept the same payment at once make one version and one record."""
    imp_uid = await _mismatched(service, sandbox)
    answers = await asyncio.gather(_accept(service, imp_uid), _accept(service, imp_uid))
    assert [(status, order["version"]) for status, order in answers] == [(200, 3), (200, 3)]
    assert await stored.count(pool, "operator_actions") == 1


async def test_a_refund_that_was_not_sent_is_withdrawn(receiver: RunningService, shop: Shop, parts: Parts) -> None:
    """An intended refund of an accepted payment is withdrawn by whoever accepted it, and is never sent."""
    imp_uid = await shop.paid_wrongly("order-1", 67900)
    client = parts.verifier.accounts["default"]
    assert isinstance(client, PortOne)
    refunder = make_refunder(replace(parts.verifier), client)
    assert await refunder.intents.intend_due() == 1
    assert (await _accept(receiver, imp_uid))[0] == 200
    assert await shop.moves(imp_uid) == ["intended", "withdrawn"]
    move = await shop.pool.fetchrow("SELECT who, why FROM refund_moves WHERE state = 'withdrawn'")
    assert move is not None
    assert tuple(move) == ("kim", "a shipping fee was added")
    await shop.let_the_finding_age()
    assert (await refunder.intents.intend_due(), await refunder.refund_due(), await shop.cancel_calls()) == (0, 0, 0)


async def test_a_refund_that_was_sent_cannot_be_taken_back(receiver: RunningService, shop: Shop, parts: Parts) -> None:
    """Once PortOne was asked for the refund, the payment is not accepted, though no answer has come."""
    imp_uid = await shop.paid_wrongly("order-1", 67900)
    client = parts.verifier.accounts["default"]
    assert isinstance(client, PortOne)
    refunder = make_refunder(replace(parts.verifier), client)
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await shop.sandbox.faults(api_answer="reset", api_path="/payments/cancel")
    assert await refunder.refund_due() == 1
    status, problem = await _accept(receiver, imp_uid)
    assert (status, problem["detail"]) == (
        409, "This payment cannot be accepted as it is. (its refund was asked for)",
    )  # fmt: skip
