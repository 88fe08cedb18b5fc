"""A payment that may hold money, and that no rule can use, is a problem for a person (docs/portone.md §4.20)."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from service.db import problems
from service.db.pool import Pool, in_transaction
from service.errors import MoneyCame
from service.portone import looks
from service.usecases import terms
from service.usecases.reconciliation import Reconciler
from tests.running import RunningService
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.conftest import Logged
from tests.service.refunding import Shop, make_refunder
from workers.parts import Parts

ODD: list[dict[str, Any]] = [
    {"amount": "64900"},
    {"amount": -64900},
    {"amount": 14.2},
    {"amount": None},
    {"currency": None},
    {"currency": "원"},
    {"cancel_amount": None, "cancel_history": [{"amount": 100}]},
    {"cancel_amount": "0"},
    {"cancel_history": "none"},
    {"status": "in_process"},
    {"status": None},
    {"customer_uid_usage": 7},
    {"status": "ready", "vbank_num": "110-123", "amount": "64900"},
]
HARMLESS: list[dict[str, Any]] = [
    {"vbank_date": "2026-11-30"},
    {"vbank_date": -1},
    {"vbank_date": 1790000000.5},
    {"started_at": "yesterday", "failed_at": {}, "cancelled_at": []},
    {"name": 7, "buyer_name": ["Kim"], "custom_data": {"a": 1}},
    {"pay_method": 3, "pg_provider": [], "receipt_url": "\x07"},
    {"currency": "krw"},
    {"cancel_amount": None, "cancel_history": []},
    {"sandbox": "false"},
]


async def _paid_oddly(shop: Shop, fields: dict[str, Any], merchant_uid: str = "order-1") -> str:
    """Pay an order with a payment of these fields, and look. Returns the payment."""
    await shop.order(merchant_uid)
    imp_uid: str = (await shop.sandbox.pay(merchant_uid, 64900))["imp_uid"]
    await shop.sandbox.move(imp_uid, "set", fields=fields)
    await shop.announce(merchant_uid, imp_uid)
    return imp_uid


async def _state(shop: Shop, merchant_uid: str = "order-1") -> str:
    state: str = await shop.pool.fetchval("SELECT state FROM orders WHERE merchant_uid = $1", merchant_uid)
    return state


@pytest.mark.parametrize("fields", ODD, ids=str)
async def test_what_a_rule_needs_and_cannot_read_is_a_problem(shop: Shop, fields: dict[str, Any]) -> None:
    """An odd amount, currency, status or refund opens `unreadable_payment`, and never decides the order's state."""
    imp_uid = await _paid_oddly(shop, fields)
    assert await shop.problems("order-1") == [("unreadable_payment", imp_uid)]
    assert await _state(shop) == "pending"


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
async def test_what_no_rule_needs_is_left_out(shop: Shop, fields: dict[str, Any]) -> None:
    """Odd dates, names and details hide no money, nor does a currency in small letters."""
    await _paid_oddly(shop, fields)
    assert (await _state(shop), await shop.problems("order-1")) == ("paid", [])


@pytest.mark.parametrize("fields", [{"status": "failed"}, {"status": "ready", "vbank_num": None}])
async def test_an_unreadable_payment_without_money_is_no_problem(shop: Shop, fields: dict[str, Any]) -> None:
    """A window, or a payment that failed, holds no money, so nobody is called for its odd amount."""
    await _paid_oddly(shop, fields | {"amount": "64900"})
    assert (await _state(shop), await shop.problems("order-1")) == ("pending", [])


async def test_the_operator_sees_the_odd_values_and_nothing_of_the_buyer(
    shop: Shop, logged: Callable[[ModuleType], Logged]
) -> None:
    """The raw values of just the odd fields are kept, bounded; the log has the imp_uid and the field's name."""
    lines = logged(looks)
    odd = {"amount": "6" * 1000, "cancel_history": {"reason": "Kim's"}, "buyer_name": "Kim", "name": 3}
    imp_uid = await _paid_oddly(shop, odd)
    [problem] = await in_transaction(shop.pool, problems.of_orders, 10)
    assert problem.odd is not None
    assert problem.odd.keys() == {"amount", "cancel_history"}
    assert len(problem.odd["amount"]) < 100
    assert "Kim" not in str(problem.odd) + str(lines.lines)
    assert {line["imp_uid"] for line in lines.of("payment.unreadable")} == {imp_uid}


async def test_an_unreadable_answer_is_parked_and_listed_with_its_amount(shop: Shop) -> None:
    """The notice ends as `answer_unreadable`, and the list of problems names the amount, which can be read."""
    imp_uid = await _paid_oddly(shop, {"status": "in_process"})
    for _ in range(8):
        [notice] = await stored.notices(shop.pool, imp_uid)
        await shop.verifier.verify([notice["id"]])
    [notice] = await stored.notices(shop.pool, imp_uid)
    assert (notice["last_outcome"], notice["parked_at"] is None) == ("answer_unreadable", False)
    [problem] = await in_transaction(shop.pool, problems.of_orders, 10)
    assert (problem.kind, problem.amount, problem.currency) == ("unreadable_payment", 64900, "KRW")


async def test_a_payment_that_names_no_order_is_listed(shop: Shop) -> None:
    """Money whose order number cannot be read is listed without an order, until it can be read."""
    imp_uid = await _paid_oddly(shop, {"merchant_uid": None})
    [problem] = await in_transaction(shop.pool, problems.of_orders, 10)
    assert (problem.kind, problem.merchant_uid, problem.imp_uid) == ("unreadable_payment", None, imp_uid)
    await shop.sandbox.move(imp_uid, "set", fields={"merchant_uid": "order-1"})
    await shop.announce("order-1", imp_uid)
    assert await _state(shop) == "paid"
    assert await in_transaction(shop.pool, problems.of_orders, 10) == []


async def test_a_former_readable_look_stays_the_basis(shop: Shop) -> None:
    """An order that was paid stays paid while the payment is unreadable, and follows the next readable answer."""
    imp_uid = await _paid_oddly(shop, {"name": 1})
    for fields, state, kinds in (
        ({"amount": "64900"}, "paid", ["unreadable_payment"]),
        ({"amount": "64900", "status": "cancelled", "cancel_amount": 64900}, "paid", ["unreadable_payment"]),
        ({"amount": 64900, "status": "cancelled", "cancel_amount": 64900}, "cancelled", []),
    ):
        await shop.sandbox.move(imp_uid, "set", fields=fields)
        await shop.announce("order-1", imp_uid)
        assert (await _state(shop), [kind for kind, _ in await shop.problems("order-1")]) == (state, kinds)


async def test_an_unreadable_payment_waits_for_its_order(shop: Shop) -> None:
    """An order that is registered after its unreadable payment was seen has the problem from its first version."""
    imp_uid = (await shop.sandbox.pay("order-1", 64900))["imp_uid"]
    await shop.sandbox.move(imp_uid, "set", fields={"amount": "64900"})
    await shop.announce("order-1", imp_uid)
    assert await in_transaction(shop.pool, problems.of_orders, 10) == []
    await shop.order("order-1")
    assert await shop.problems("order-1") == [("unreadable_payment", imp_uid)]


async def test_another_payment_still_pays_the_order(shop: Shop) -> None:
    """A readable payment beside the unreadable one pays the order; the problem stays."""
    odd = await _paid_oddly(shop, {"amount": "64900"})
    await shop.announce("order-1", (await shop.sandbox.pay("order-1", 64900, force=True))["imp_uid"])
    assert (await _state(shop), await shop.problems("order-1")) == ("paid", [("unreadable_payment", odd)])


async def test_nothing_is_refunded_beside_an_unreadable_payment(shop: Shop, parts: Parts) -> None:
    """Where one payment of an order cannot be read, it may be the one that pays: none is given back."""
    first, _ = await shop.paid_twice("order-1")
    await shop.sandbox.move(first, "set", fields={"cancel_amount": "64900", "status": "cancelled"})
    await shop.announce("order-1", first)
    assert ("unreadable_payment", first) in await shop.problems("order-1")
    client: Any = parts.verifier.accounts["default"]
    refunder = make_refunder(parts.verifier, client)
    assert await refunder.intents.intend_due() == 0
    assert await shop.cancel_calls() == 0


async def test_reconciliation_sees_that_it_can_be_read_again(shop: Shop, parts: Parts) -> None:
    """The ledger scan records a notice once for an unreadable payment, and again when it can be read."""
    imp_uid = await _paid_oddly(shop, {"amount": "64900"})
    assert await _walk(parts.reconciler, shop.pool) == 0
    await shop.sandbox.move(imp_uid, "set", fields={"amount": 64900})
    await shop.pool.execute("UPDATE notices SET due_at = NULL, handled_at = now(), claimed_until = NULL")
    assert await _walk(parts.reconciler, shop.pool) == 1
    [notice] = await shop.pool.fetch("SELECT id FROM notices WHERE source = 'reconcile'")
    await shop.verifier.verify([notice["id"]])
    assert (await _state(shop), await shop.problems("order-1")) == ("paid", [])


async def _walk(reconciler: Reconciler, pool: Pool) -> int:
    await pool.execute("UPDATE ledger_scans SET next_at = now()")
    return await reconciler.walk_ledger()


async def test_terms_stay_while_money_may_be_there(shop: Shop) -> None:
    """An order with an unreadable payment is not amended."""
    await _paid_oddly(shop, {"amount": "64900"})
    with pytest.raises(MoneyCame):
        await terms.amend(shop.pool, "order-1", None, {"amount": 1}, allow_test_channel=False, prepare=False)


async def test_a_buyer_is_not_told_that_portone_is_down(service: RunningService, sandbox: RunningSandbox) -> None:
    """A completion call answers 202 `answer-unreadable`, with and without the payment's name, and never a refusal."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900))["imp_uid"]
    await sandbox.move(imp_uid, "pay", webhook=False)
    await sandbox.move(imp_uid, "set", fields={"amount": "64900"})
    status, body = await service.complete(imp_uid, "order-1", headers={"Prefer": "wait=2"})
    assert (status, body["reason"]) == (202, "answer-unreadable")
    question = {"imp_uid": "imp_2", "merchant_uid": "order-1", "amount": 64900}
    assert (await service.call("POST", "/payments/confirm", json=question))[0] == 409
    await service.becomes("order-1", state="pending", problems=[{"kind": "unreadable_payment", "imp_uid": imp_uid}])
    order = {"merchant_uid": "order-1"}
    status, body = await service.call("POST", "/payment/complete", json=order, headers={"Prefer": "wait=2"})
    assert (status, body["reason"]) == (202, "answer-unreadable")
