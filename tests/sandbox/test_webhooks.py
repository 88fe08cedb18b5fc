import asyncio
from typing import Any

import pytest

from tests.sandbox.conftest import Caller, Shop


async def deliveries(portone: Caller) -> list[dict[str, object]]:
    deliveries: list[dict[str, object]] = (await portone.control("webhooks", method="GET")).content["deliveries"]
    return deliveries


async def test_a_payment_is_told_once_in_exactly_three_words(portone: Caller, shop: Shop) -> None:
    """imp_uid, merchant_uid and status as JSON, and nothing else; the shop's answer is on record."""
    shop.answer_status = 500
    imp_uid = await portone.pay()
    [arrival] = shop.so_far()
    assert arrival.body == {"imp_uid": imp_uid, "merchant_uid": "order-1", "status": "paid"}
    assert (arrival.path, arrival.content_type) == ("/hook", "application/json")
    [record] = await deliveries(portone)
    assert (record["imp_uid"], record["outcome"], record["answer_status"]) == (imp_uid, "delivered", 500)


async def test_both_encodings_say_the_same(portone: Caller, shop: Shop) -> None:
    """The switch sends a form, or a JSON body and a form."""
    await portone.control("faults", webhook_format="both")
    await portone.pay("주문 1")
    as_json, as_form = shop.so_far()
    assert as_form.content_type == "application/x-www-form-urlencoded"
    assert as_form.body == as_json.body


async def test_a_tier_and_a_notice_url_have_their_own_address(portone: Caller, shop: Shop) -> None:
    """A tier's webhook goes to URL/TIER, a payment's own notice_url goes before all."""
    await portone.pay("order-1", tier="001")
    await portone.pay("order-2", tier="001", notice_url=f"{shop.url}/own")
    assert [arrival.path for arrival in shop.so_far()] == ["/hook/001", "/hook/own"]


async def test_the_endpoint_url_can_be_changed_while_it_runs(portone: Caller, shop: Shop) -> None:
    """The address is the console's, and a reset does not change it."""
    await portone.control("account", webhook_url=f"{shop.url}/other")
    await portone.control("reset")
    await portone.pay()
    assert [arrival.path for arrival in shop.so_far()] == ["/hook/other"]


async def test_only_what_portone_announces_is_announced(portone: Caller, shop: Shop) -> None:
    """Issue, deposit and console cancel are told; opening, failure, abandonment and expiry are not."""
    account = await portone.open("order-1")
    for action in ("issue", "expire", "deposit", "cancel"):
        await portone.control(f"payments/{account}/{action}")
    window = await portone.open("order-2")
    for action in ("abandon", "fail"):
        await portone.control(f"payments/{window}/{action}")
    assert [arrival.body["status"] for arrival in shop.so_far()] == ["ready", "paid", "cancelled"]
    await portone.control(f"payments/{window}/pay", webhook=False)
    assert shop.so_far() == []


async def test_a_deposit_into_a_voided_account_changes_nothing(portone: Caller, shop: Shop) -> None:
    """It stays cancelled, and nobody is told."""
    imp_uid = await portone.open()
    await portone.control(f"payments/{imp_uid}/issue", webhook=False)
    await portone.control(f"payments/{imp_uid}/cancel", webhook=False)
    late = await portone.control(f"payments/{imp_uid}/deposit")
    assert (late.status, late.content["status"], late.content["cancel_amount"]) == (200, "cancelled", 0)
    assert shop.so_far() == []


async def test_a_lost_webhook_is_on_record_and_can_be_sent_again(portone: Caller, shop: Shop) -> None:
    """Dropped is recorded; sending again goes past the switches, as often and to where it is asked."""
    await portone.control("faults", webhook_drop=True)
    imp_uid = await portone.pay()
    assert shop.so_far() == []
    again: dict[str, Any] = {"imp_uid": imp_uid, "times": 3, "status": "cancelled", "format": "form", "tier": "007"}
    sent = await portone.control("webhooks/send", **again)
    assert sent.content["outcomes"] == {"delivered": 3}
    assert [(a.path, a.body["status"]) for a in shop.so_far()] == [("/hook/007", "cancelled")] * 3
    assert [record["outcome"] for record in await deliveries(portone)] == ["dropped"] + ["delivered"] * 3


async def test_copies_delay_and_disorder(portone: Caller, shop: Shop) -> None:
    """One webhook comes several times, late without holding up the payment, or behind a later one."""
    await portone.control("faults", webhook_copies=3)
    await portone.pay("order-1")
    assert len(shop.so_far()) == 3
    await portone.control("faults", webhook_copies=1, webhook_delay_seconds=0.05)
    await portone.pay("order-2")
    assert (await shop.next()).body["merchant_uid"] == "order-2"
    await portone.control("faults", webhook_delay_seconds=0, webhook_reorder=2)
    await portone.pay("order-3")
    assert shop.so_far() == []
    await portone.pay("order-4")
    assert [arrival.body["merchant_uid"] for arrival in shop.so_far()] == ["order-4", "order-3"]


async def test_a_held_webhook_is_sent_when_the_switches_are_cleared(portone: Caller, shop: Shop) -> None:
    """Nothing held back is lost."""
    await portone.control("faults", webhook_reorder=5)
    await portone.pay()
    await portone.control("faults", method="DELETE")
    assert len(shop.so_far()) == 1


async def test_retries_happen_only_where_asked_for(portone: Caller, shop: Shop) -> None:
    """With the switch, a 5xx is tried again until an answer that is none."""
    shop.answer_status = 503
    await portone.control("faults", webhook_retries=5, webhook_retry_seconds=0.01)
    await portone.pay()
    await shop.next()
    await shop.next()
    shop.answer_status = 200
    await shop.next()


async def test_a_shop_that_is_away_is_a_failed_delivery(portone: Caller) -> None:
    """A refused connection is recorded with its reason, and the payment stands."""
    imp_uid = await portone.pay(notice_url="http://127.0.0.1:1/")
    [record] = await deliveries(portone)
    assert (record["outcome"], record["answer_status"]) == ("failed", None)
    assert record["error"]
    assert (await portone.v1(f"/payments/{imp_uid}")).response["status"] == "paid"


async def test_the_console_test_button_sends_its_dummy(portone: Caller, shop: Shop) -> None:
    """A body that names no payment."""
    await portone.control("console-test")
    [arrival] = shop.so_far()
    assert set(arrival.body) == {"imp_uid", "merchant_uid", "status"}
    assert (await portone.v1(f"/payments/{arrival.body['imp_uid']}")).status == 404


@pytest.mark.parametrize("webhook", [True, False])
async def test_bulk_pays_many_orders(portone: Caller, shop: Shop, webhook: bool) -> None:
    """Each order prefix-0, prefix-1, … is paid, and told if asked."""
    made = await portone.control("bulk", count=300, prefix="many", amount=500, webhook=webhook)
    assert len(set(made.content["imp_uids"])) == 300
    listed = (await portone.v1("/payments/status/paid?limit=1000")).response
    assert {p["merchant_uid"] for p in listed["list"]} == {f"many-{n}" for n in range(300)}
    assert len(shop.so_far()) == (300 if webhook else 0)


async def test_payments_made_at_once_have_ids_of_their_own(portone: Caller) -> None:
    """No two payments share an imp_uid, though the clock stands still."""
    imp_uids = await asyncio.gather(*(portone.pay(f"order-{n}", webhook=False) for n in range(20)))
    assert len(set(imp_uids)) == 20
