from typing import Any

import pytest

from tests.sandbox.conftest import Caller, Shop


async def test_everything_is_given_back_unless_an_amount_says_otherwise(portone: Caller) -> None:
    """An amount omitted or 0 is the whole balance; the amount asked for does not shrink."""
    for order, body in (("order-1", {}), ("order-2", {"amount": 0})):
        imp_uid = await portone.pay(order)
        cancelled = (await portone.cancel(imp_uid=imp_uid, reason="변심", **body)).response
        assert (cancelled["status"], cancelled["amount"], cancelled["cancel_amount"]) == ("cancelled", 1000, 1000)
        assert [(row["amount"], row["reason"]) for row in cancelled["cancel_history"]] == [(1000, "변심")]


async def test_parts_add_up_to_the_whole(portone: Caller) -> None:
    """Each part is a row of its own with `cancelled` as the status, until HTTP 200 with code 1 ends it."""
    await portone.pay("order-1", 10.0, currency="USD")
    await portone.cancel(merchant_uid="order-1", amount=3.35, checksum=10)
    left = await portone.cancel(merchant_uid="order-1", checksum="6.65")
    assert left.response["cancel_amount"] == 10.0
    assert [row["amount"] for row in left.response["cancel_history"]] == [3.35, 6.65]
    again = await portone.cancel(merchant_uid="order-1")
    assert (again.status, again.code, again.response) == (200, 1, None)
    assert again.content["message"] == "이미 전액취소된 주문입니다."


@pytest.mark.parametrize("body", [{"amount": 1001}, {"checksum": 999}, {"amount": -1}, {"amount": 0.5}])
async def test_a_refused_cancel_is_http_200_with_code_1(portone: Caller, body: dict[str, float]) -> None:
    """Too much, a checksum that disagrees and an impossible amount give nothing back."""
    imp_uid = await portone.pay()
    refused = await portone.cancel(imp_uid=imp_uid, **body)
    assert (refused.status, refused.code) == (200, 1)
    assert (await portone.v1(f"/payments/{imp_uid}")).response["status"] == "paid"


async def test_what_is_not_there_or_not_paid_cannot_be_cancelled(portone: Caller) -> None:
    """An unknown payment and one that is ready are code 1; naming none, and text for an amount, are 400."""
    assert (await portone.cancel(imp_uid="imp_none")).code == 1
    assert (await portone.cancel(imp_uid=await portone.open())).code == 1
    assert (await portone.cancel(reason="?")).status == 400
    assert (await portone.cancel(imp_uid="imp_none", amount="all")).status == 400


async def test_imp_uid_wins_over_merchant_uid(portone: Caller) -> None:
    """With both named the imp_uid decides; a merchant_uid means its payment that holds money."""
    paid = await portone.pay("order-1")
    await portone.open("order-1", force=True)
    other = await portone.pay("order-2")
    assert (await portone.cancel(imp_uid=other, merchant_uid="order-1")).response["imp_uid"] == other
    assert (await portone.cancel(merchant_uid="order-1")).response["imp_uid"] == paid


async def test_an_api_cancel_tells_the_shop_only_if_asked(portone: Caller, shop: Shop) -> None:
    """No webhook unless `enable_webhook`, which then carries the cancellation_id."""
    imp_uid = await portone.pay(webhook=False)
    await portone.cancel(imp_uid=imp_uid, amount=100)
    cancelled = await portone.cancel(imp_uid=imp_uid, amount=100, enable_webhook=True)
    arrival = await shop.next()
    assert arrival.body == {
        "imp_uid": imp_uid,
        "merchant_uid": "order-1",
        "status": "cancelled",
        "cancellation_id": cancelled.response["cancel_history"][-1]["cancellation_id"],
    }
    assert shop.so_far() == []


async def test_a_virtual_account_is_refunded_to_an_account(portone: Caller) -> None:
    """Without the refund account the cancel is refused."""
    imp_uid = await portone.pay(pay_method="vbank")
    assert (await portone.cancel(imp_uid=imp_uid)).code == 1
    account = {"refund_holder": "김", "refund_bank": "04", "refund_account": "1"}
    assert (await portone.cancel(imp_uid=imp_uid, **account)).code == 0


async def test_an_asynchronous_channel_cancels_later(portone: Caller, shop: Shop) -> None:
    """The answer is code 0 with the payment still paid; the row appears when the channel is done."""
    imp_uid = await portone.pay(async_cancel=True, webhook=False)
    accepted = await portone.cancel(imp_uid=imp_uid)
    assert (accepted.code, accepted.response["status"], accepted.response["cancel_history"]) == (0, "paid", [])
    assert (await portone.cancel(imp_uid=imp_uid)).code == 1
    done = await portone.control(f"payments/{imp_uid}/finish-cancel")
    assert (done.content["status"], len(done.content["cancel_history"])) == ("cancelled", 1)
    assert shop.so_far() == []


async def test_an_amount_is_prepared_once_and_changed_by_put(portone: Caller) -> None:
    """The second POST is HTTP 200 with code 1, PUT changes, GET reads, unknown orders are 404."""
    body: dict[str, Any] = {"merchant_uid": "order-1", "amount": 1000}
    assert (await portone.call("PUT", "/payments/prepare", json=body)).status == 404
    assert (await portone.v1("/payments/prepare/order-1")).status == 404
    assert (await portone.call("POST", "/payments/prepare", data=body)).response == body
    again = await portone.call("POST", "/payments/prepare", json=body)
    assert (again.status, again.code) == (200, 1)
    await portone.call("PUT", "/payments/prepare", json=body | {"amount": 6.5})
    assert (await portone.v1("/payments/prepare/order-1")).response["amount"] == 6.5
    assert (await portone.control("payments", **body)).status == 409


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b'"text"'])
async def test_an_unreadable_body_is_400_in_an_envelope(portone: Caller, raw: bytes) -> None:
    """Garbage never becomes a 500."""
    headers = portone.headers | {"Content-Type": "application/json"}
    for path in ("/users/getToken", "/payments/cancel", "/payments/prepare"):
        answer = await portone.call("POST", path, data=raw, headers=headers)
        assert (answer.status, answer.code) == (400, -1)
