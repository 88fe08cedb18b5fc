"""The service does what PortOne's guide on taking payments demands; each test is named after a line of it."""

from urllib.parse import parse_qs, urlsplit

import pytest

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, bearer, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

TIER = "abc"
RETURN_URL = "https://shop.example.test/done?lang=ko"
SINGLE_LOOK = "GET /payments/{imp_uid}"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"portone_tiers": (TIER,), "return_url": RETURN_URL})


async def _silently(
    sandbox: RunningSandbox, merchant_uid: str = "order-1", amount: float = 64900, **terms: object
) -> str:
    """Pay without a webhook. Returns the imp_uid."""
    paid = await sandbox.pay(merchant_uid, amount, webhook=False, **terms)
    return str(paid["imp_uid"])


async def _lands(service: RunningService, query: str) -> dict[str, str]:
    """Follow a redirect of the buyer's browser. Returns the query with which it reaches the shop's page."""
    async with service.session.get(f"{service.url}/payment-redirect?{query}", allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()
        parts = urlsplit(answer.headers["Location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://shop.example.test/done"
    return {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}


async def test_token_issued(service: RunningService, sandbox: RunningSandbox) -> None:
    """The key and secret give one token, which all later looks share."""
    for number in range(3):
        await service.register(f"order-{number}")
        await sandbox.pay(f"order-{number}", 64900)
        await service.becomes(f"order-{number}", state="paid")
    assert (await sandbox.calls())["by_template"]["POST /users/getToken"] == 1


async def test_single_look_up_by_imp_uid(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """One notice costs one `GET /payments/{imp_uid}`, and what PortOne answers is stored."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", state="paid")
    calls = (await sandbox.calls())["by_template"]
    assert (calls["POST /users/getToken"], calls[SINGLE_LOOK], calls.get("GET /payments")) == (1, 1, None)
    row = await stored.payment(pool, imp_uid)
    assert row is not None
    assert (row["merchant_uid"], row["status"], row["amount"], row["live"]) == ("order-1", "paid", 64900, True)


async def test_order_found_by_the_number_that_portone_returns(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A call that names another order settles only the order that PortOne names."""
    await service.register("order-1")
    await service.register("order-2")
    imp_uid = await _silently(sandbox, "order-1")
    status, body = await service.complete(imp_uid, "order-2")
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:other-order")
    await service.becomes("order-1", state="paid")
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    assert await stored.events(pool, "order-2") == [(1, "pending")]


async def test_amounts_compared(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """The amount in PortOne's answer is compared with the registered one, to the last unit."""
    await service.register("order-1", 64900)
    await service.register("order-2", 600, currency="USD")
    await sandbox.pay("order-1", 64899)
    await sandbox.pay("order-2", 6.0, currency="USD")
    await service.becomes("order-2", state="paid", paid_amount=600)
    await service.becomes("order-1", state="mismatched", paid_amount=0)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "mismatched")]


async def test_paid_handled(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A paid payment is answered 200 with the state, and stored."""
    await service.register("order-1")
    imp_uid = await _silently(sandbox)
    assert await service.complete(imp_uid, "order-1") == (200, {"merchant_uid": "order-1", "state": "paid"})
    row = await stored.order(pool, "order-1")
    assert (row["state"], row["paid_amount"], row["imp_uid"], row["version"]) == ("paid", 64900, imp_uid, 2)
    assert [notice["handled_at"] is not None for notice in await stored.notices(pool, imp_uid)] == [True]


async def test_ready_answered_as_awaiting_deposit(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """An issued virtual account is `awaiting_deposit`, and pays the order only after the deposit."""
    await service.register("order-1")
    payment = await sandbox.open("order-1", 64900, pay_method="vbank")
    await sandbox.move(payment["imp_uid"], "issue")
    await service.becomes("order-1", state="awaiting_deposit", paid_amount=0)
    expected = {"merchant_uid": "order-1", "state": "awaiting_deposit"}
    assert await service.decided(payment["imp_uid"], "order-1") == (200, expected)
    await sandbox.move(payment["imp_uid"], "deposit")
    await service.becomes("order-1", state="paid", paid_amount=64900)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "awaiting_deposit"), (3, "paid")]


async def test_mismatch_refused_with_400(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A payment of another amount is refused with 400, and is a problem of the order."""
    await service.register("order-1")
    imp_uid = await _silently(sandbox, amount=100)
    status, body = await service.complete(imp_uid, "order-1")
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:wrong-amount")
    assert await stored.problems(pool, "order-1") == [("wrong_amount", imp_uid)]
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "mismatched")]


async def test_failed_verification_400(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A failed payment and an unknown one are refused with 400."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900))["imp_uid"]
    await sandbox.move(imp_uid, "fail", reason="한도초과")
    status, body = await service.decided(imp_uid, "order-1")
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:payment-failed")
    status, body = await service.decided("imp_000000000000", "order-1")
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:payment-unknown")
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "failed")]


@pytest.mark.parametrize("encoding", ["json", "data"])
async def test_callback_path(service: RunningService, sandbox: RunningSandbox, pool: Pool, encoding: str) -> None:
    """The guide's own call, `POST /payment/complete`, verifies without any webhook, as JSON and as a form."""
    await service.register("order-1")
    fields = {"imp_uid": await _silently(sandbox), "merchant_uid": "order-1"}
    status, body = await service.call("POST", "/payment/complete", **{encoding: fields})
    assert (status, body) == (200, {"merchant_uid": "order-1", "state": "paid"})
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


@pytest.mark.parametrize("extra", ["", "&imp_success=true", "&error_code=&error_msg=", "&success=true&status=paid"])
async def test_redirect_path_with_success(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, extra: str
) -> None:
    """The redirected browser reaches the shop's page with its order and the verified state."""
    await service.register("order-1")
    landed = await _lands(service, f"imp_uid={await _silently(sandbox)}&merchant_uid=order-1{extra}")
    assert landed == {"lang": "ko", "merchant_uid": "order-1", "state": "paid"}
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


@pytest.mark.parametrize(
    "extra",
    [
        "&error_code=F400&error_msg=%EA%B2%B0%EC%A0%9C+%EC%8B%A4%ED%8C%A8",
        "&imp_success=false&error_msg=%EC%B7%A8%EC%86%8C",
        "&imp_success=false&error_code=F1&error_msg=x&success=false",
    ],
)
async def test_redirect_path_with_error(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, extra: str
) -> None:
    """After a failed payment the redirected browser reaches the shop's page with the state that PortOne reports."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900))["imp_uid"]
    await sandbox.move(imp_uid, "fail")
    landed = await _lands(service, f"imp_uid={imp_uid}&merchant_uid=order-1{extra}")
    assert landed == {"lang": "ko", "merchant_uid": "order-1", "state": "failed", "reason": "payment-failed"}
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "failed")]


async def test_redirect_path_believes_neither_success_nor_error(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """The redirect's `error_code` and `imp_success` decide nothing, because only PortOne's answer counts."""
    await service.register("order-1")
    await service.register("order-2")
    landed = await _lands(service, f"imp_uid={await _silently(sandbox)}&merchant_uid=order-1&error_code=F400")
    assert landed["state"] == "paid"
    window = await sandbox.open("order-2", 64900)
    query = f"imp_uid={window['imp_uid']}&merchant_uid=order-2&imp_success=true"
    async with service.session.get(
        f"{service.url}/payment-redirect?{query}", headers={"Prefer": "wait=0"}, allow_redirects=False
    ) as answer:
        assert "state=pending" in answer.headers["Location"]
    assert await stored.events(pool, "order-2") == [(1, "pending")]


async def test_webhook_as_the_final_word(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """The webhook settles the order even if the buyer never returns, or returns too early."""
    await service.register("order-1")
    window = await sandbox.open("order-1", 64900)
    status, body = await service.complete(window["imp_uid"], "order-1", headers={"Prefer": "wait=0"})
    assert (status, body["read_on"]) == (202, "/orders/order-1")
    await sandbox.move(window["imp_uid"], "pay")
    await service.becomes("order-1", state="paid")
    await sandbox.move(window["imp_uid"], "cancel", amount=4900, reason="부분 환불")
    await service.becomes("order-1", state="partially_cancelled", paid_amount=64900, cancelled_amount=4900)
    expected = [(1, "pending"), (2, "paid"), (3, "partially_cancelled")]
    assert await stored.events(pool, "order-1") == expected


async def test_sub_store_by_webhook(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A sub-store's webhook at its own address settles its order, by a look with the Tier header."""
    await service.register("order-1", tier=TIER)
    imp_uid = (await sandbox.pay("order-1", 64900, tier=TIER))["imp_uid"]
    await service.becomes("order-1", state="paid", tier=TIER)
    [delivery] = (await sandbox.webhooks())["deliveries"]
    assert (delivery["url"].rsplit("/", 1)[1], delivery["answer_status"]) == (TIER, 200)
    [notice] = await stored.notices(pool, imp_uid)
    assert notice["tier"] == TIER
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_sub_store_by_completion(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A completion call's payment is looked at under its order's tier."""
    await service.register("order-1", tier=TIER)
    imp_uid = await _silently(sandbox, tier=TIER)
    assert (await service.complete(imp_uid, "order-1"))[0] == 200
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_sub_store_that_is_not_configured(service: RunningService, pool: Pool) -> None:
    """A tier that is not configured cannot register an order; its webhook is kept, and parked with the reason."""
    webhook = {"imp_uid": "imp_1", "merchant_uid": "order-1", "status": "paid"}
    assert (await service.call("POST", "/webhooks/portone/v1/zzz", json=webhook))[0] == 200
    order = {"merchant_uid": "order-1", "amount": 64900, "tier": "zzz"}
    assert (await service.call("POST", "/orders", json=order, headers=bearer()))[0] == 400
    assert await stored.count(pool, "orders") == 0

    async def is_parked() -> bool:
        [row] = await stored.notices(pool, "imp_1")
        return (row["tier"], row["last_outcome"]) == ("zzz", "store_not_configured") and row["parked_at"] is not None

    await until(is_parked)


async def test_unique_merchant_uid_stored_beforehand(receiver: RunningService, pool: Pool) -> None:
    """An order number is registered once: first 201, then 200 for the same terms and 409 for others."""
    order = {"merchant_uid": "order-1", "amount": 64900, "name": "신발"}
    assert (await receiver.call("POST", "/orders", json=order, headers=bearer()))[0] == 201
    assert (await receiver.call("POST", "/orders", json=order, headers=bearer()))[0] == 200
    for other in ({"amount": 64901}, {"currency": "USD"}, {"name": "가방"}, {"tier": TIER}):
        status, body = await receiver.call("POST", "/orders", json=order | other, headers=bearer())
        assert (status, body["type"]) == (409, "urn:portone-orders:problem:other-terms")
        assert body["detail"] == f"This merchant_uid is registered already, with other terms. ({next(iter(other))})"
    assert (await stored.order(pool, "order-1"))["amount"] == 64900
    assert await stored.events(pool, "order-1") == [(1, "pending")]


async def test_a_payment_seen_before_its_order_is_settled_on_registration(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """If the webhook came before the order was registered, the registration settles it."""
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    status, _ = await service.complete(imp_uid, "order-1", headers={"Prefer": "wait=1"})
    assert status == 202

    async def seen() -> bool:
        return await stored.payment(pool, imp_uid) is not None

    await until(seen)
    assert (await service.register("order-1"))["state"] == "paid"
    assert await stored.events(pool, "order-1") == [(1, "paid")]
