from typing import Any

import pytest

from tests.sandbox.conftest import Caller, Shop

BAD = [
    ("POST", "pay", {}),
    ("POST", "pay", {"merchant_uid": "a"}),
    ("POST", "pay", {"merchant_uid": "", "amount": 1}),
    ("POST", "pay", {"merchant_uid": "a" * 256, "amount": 1}),
    ("POST", "pay", {"merchant_uid": 1, "amount": 1}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 0}),
    ("POST", "pay", {"merchant_uid": "a", "amount": -1}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 1.5}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 10**30}),
    ("POST", "pay", {"merchant_uid": "a", "amount": "many"}),
    ("POST", "pay", {"merchant_uid": "a", "amount": True}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 1, "currency": "won"}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 1, "sandbox": "yes"}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 1, "notice_url": "file:///x"}),
    ("POST", "pay", {"merchant_uid": "a", "amount": 1, "webhok": True}),
    ("POST", "payments", {"merchant_uid": "a", "amount": 1, "fields": []}),
    ("POST", "bulk", {"count": 0, "prefix": "a", "amount": 1}),
    ("POST", "bulk", {"count": 1.5, "prefix": "a", "amount": 1}),
    ("POST", "faults", {"api_answer": "418"}),
    ("POST", "faults", {"api_answer": ["500"]}),
    ("POST", "faults", {"latency_seconds": -1}),
    ("POST", "faults", {"hide_payments": "all"}),
    ("POST", "faults", {"hide_payments": [1]}),
    ("POST", "faults", {"latancy_seconds": 1}),
    ("POST", "account", {"token_life_seconds": 0}),
    ("POST", "webhooks/send", {}),
    ("POST", "webhooks/send", {"imp_uid": "a", "times": 0}),
    ("POST", "console-test", {"format": "xml"}),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD)
async def test_bad_input_is_one_sentence(stranger: Caller, method: str, path: str, body: dict[str, Any]) -> None:
    """Every wrong value is 400 with a sentence, and changes nothing."""
    refused = await stranger.control(path, method, **body)
    assert refused.status == 400
    assert refused.content["error"].endswith(".")
    assert (await stranger.control("payments", "GET")).content == {"payments": []}


@pytest.mark.parametrize("raw", [b"{", b"[1]", b"\xff", b"null", b"NaN", b"[" * 2000])
async def test_a_body_that_is_no_object_is_400(stranger: Caller, raw: bytes) -> None:
    """Garbage never becomes a 500."""
    for path in ("pay", "payments", "bulk", "faults", "account", "webhooks/send", "console-test"):
        as_json = {"Content-Type": "application/json"}
        assert (await stranger.call("POST", f"/_control/{path}", data=raw, headers=as_json)).status == 400


async def test_an_unknown_payment_address_or_action_is_told(stranger: Caller) -> None:
    """404 for a payment that is not there, 400 for a move that does not exist, 405 for a wrong method."""
    assert (await stranger.control("payments/imp_none/pay")).status == 404
    assert (await stranger.control("payments/imp_none", "GET")).status == 404
    assert (await stranger.control("webhooks/send", imp_uid="imp_none")).status == 404
    assert (await stranger.control("nothing")).status == 404
    assert (await stranger.control("pay", "GET")).status == 405
    imp_uid = await stranger.open()
    assert (await stranger.control(f"payments/{imp_uid}/explode")).status == 400


async def test_impossible_moves_need_force(stranger: Caller) -> None:
    """A paid payment cannot fail or be paid again; forced, the sandbox plays what PortOne never should."""
    imp_uid = await stranger.pay()
    for action in ("pay", "fail", "issue", "deposit", "expire", "abandon", "finish-cancel"):
        assert (await stranger.control(f"payments/{imp_uid}/{action}")).status == 409
    assert (await stranger.control(f"payments/{imp_uid}/cancel", amount=2000)).status == 409
    regressed = await stranger.control(f"payments/{imp_uid}/fail", force=True)
    assert regressed.content["status"] == "failed"


async def test_a_failed_payment_may_still_be_paid(stranger: Caller) -> None:
    """PayPal's pending payments do so days later."""
    imp_uid = await stranger.open()
    await stranger.control(f"payments/{imp_uid}/fail", reason="pending")
    assert (await stranger.control(f"payments/{imp_uid}/pay")).content["status"] == "paid"


async def test_an_order_is_paid_twice_only_through_two_windows(stranger: Caller) -> None:
    """The SDK refuses a window for a paid order; two that were open already may both end paid."""
    first, second = await stranger.open(), await stranger.open()
    for imp_uid in (first, second):
        assert (await stranger.control(f"payments/{imp_uid}/pay")).status == 200
    assert (await stranger.control("payments", merchant_uid="order-1", amount=1000)).status == 409
    assert (await stranger.control("payments", merchant_uid="order-1", amount=1, force=True)).status == 201
    assert (await stranger.control("payments", merchant_uid="x", amount=1, imp_uid=first)).status == 409


async def test_raw_fields_can_say_anything(portone: Caller, shop: Shop) -> None:
    """A test overwrites what V1 shows, with nonsense too, and every call still answers."""
    imp_uid = await portone.pay(webhook=False)
    nonsense: dict[str, object] = {
        "status": ["?"],
        "paid_at": None,
        "amount": "1",
        "cancel_history": {},
        "currency": [],
        "new": 1,
    }
    await portone.control(f"payments/{imp_uid}/set", fields=nonsense)
    seen = (await portone.v1(f"/payments/{imp_uid}")).response
    assert {name: seen[name] for name in nonsense} == nonsense
    for path in ("status/all?sorting=-paid", "status/paid", "find/order-1"):
        assert (await portone.v1(f"/payments/{path}")).status == 200
    assert (await portone.cancel(imp_uid=imp_uid)).code == 1
    assert (await portone.control(f"payments/{imp_uid}/cancel", force=True)).status == 200
    assert (await portone.control("webhooks/send", imp_uid=imp_uid)).status == 200


async def test_calls_are_counted_by_address_and_by_payment(portone: Caller) -> None:
    """Single and batch looks count for each imp_uid; control calls and health do not count."""
    await portone.control("calls", "DELETE")
    await portone.v1("/payments/imp_1")
    await portone.v1("/payments?imp_uid[]=imp_1&imp_uid[]=imp_2")
    await portone.call("GET", "/healthz")
    counted = (await portone.control("calls", "GET")).content
    assert counted["by_template"] == {"GET /payments/{imp_uid}": 1, "GET /payments": 1}
    assert counted["by_imp_uid"] == {"imp_1": 2, "imp_2": 1}
    assert (counted["total"], counted["in_flight"]) == (2, 0)


async def test_reset_forgets_everything(portone: Caller) -> None:
    """No payments, deliveries, switches, counts or token, and the first secret is back."""
    first = await portone.pay()
    await portone.control("account", imp_secret="other")
    await portone.control("faults", omit_sandbox=True)
    assert (await portone.control("reset")).status == 200
    assert (await portone.v1(f"/payments/{first}")).status == 401
    await portone.log_in()
    assert (await portone.control("payments", "GET")).content == {"payments": []}
    assert (await portone.control("webhooks", "GET")).content["deliveries"] == []
    assert (await portone.control("faults", "GET")).content["omit_sandbox"] is False
    assert await portone.pay() != first


async def test_a_payments_history_is_its_every_change(stranger: Caller) -> None:
    """The history has what each change set and when, and is told only if it is asked for."""
    opened = (await stranger.control("payments", merchant_uid="a", amount=1000)).content
    await stranger.control(f"payments/{opened['imp_uid']}/pay")
    (plain,) = (await stranger.control("payments", "GET")).content["payments"]
    (payment,) = (await stranger.control("payments?history=1", "GET")).content["payments"]
    assert "history" not in plain
    assert [change["fields"]["status"] for change in payment["history"]] == ["ready", "paid"]
    assert payment["history"][-1]["at"] == payment["changed_at"]
