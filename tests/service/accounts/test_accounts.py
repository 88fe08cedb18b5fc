"""Several accounts work in one deployment (docs/decisions/0012-give-each-account-a-name-and-share-nothing.md)."""

import pytest
from aiohttp import ClientSession
from yarl import URL

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, bearer, running_receiver, running_worker, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

STORES = [("default", None), ("default", "abc"), ("shop-b", None), ("shop-b", "abc")]
WRONG_STORE = "urn:portone-orders:problem:wrong-store"


async def test_an_order_of_each_account_and_tier_is_paid(service: RunningService, sandbox: RunningSandbox) -> None:
    """Each order is announced to its own address and paid under its own key, with one token for each account."""
    for number, (account, tier) in enumerate(STORES):
        order = await service.register(f"order-{number}", account=account, tier=tier)
        assert (order["account"], order["tier"]) == (account, tier)
        await sandbox.pay(f"order-{number}", 64900, account=account, tier=tier)
        await service.becomes(f"order-{number}", state="paid", problems=[], account=account)
    urls = [delivery["url"].partition("/portone/v1")[2] for delivery in (await sandbox.webhooks())["deliveries"]]
    assert urls == ["", "/abc", "/accounts/shop-b", "/accounts/shop-b/abc"]
    assert (await sandbox.calls())["by_template"]["POST /users/getToken"] == 2


@pytest.mark.parametrize(("account", "other"), [("default", "shop-b"), ("shop-b", "default")])
async def test_a_payment_of_another_account_pays_nothing(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, account: str, other: str
) -> None:
    """A payment of the right amount under another account is `wrong_store` and pays nothing."""
    await service.register("order-1", account=account)
    imp_uid = (await sandbox.pay("order-1", 64900, account=other, webhook=False))["imp_uid"]
    await sandbox.send_webhook(imp_uid, url=f"{service.url}/webhooks/portone/v1/accounts/{other}")
    await service.becomes("order-1", state="mismatched", problems=[{"kind": "wrong_store", "imp_uid": imp_uid}])
    assert await stored.never_paid(pool)
    status, body = await service.decided(imp_uid, "order-1")
    assert (status, body["type"]) == (400, WRONG_STORE)


async def test_where_an_account_is_not_asked_its_payment_is_unknown(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A browser that names another account's payment learns nothing, because only the order's account is asked."""
    await service.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900, account="shop-b"))["imp_uid"]
    await sandbox.move(imp_uid, "pay", webhook=False)
    status, body = await service.decided(imp_uid, "order-1")
    assert (status, body["type"].rpartition(":")[2]) == (400, "payment-unknown")
    assert await stored.never_paid(pool)


@pytest.mark.parametrize("tier", [None, "abc"])
async def test_a_notice_that_names_no_store_is_looked_at_in_its_orders(
    service: RunningService, sandbox: RunningSandbox, tier: str | None
) -> None:
    """A notice without an account is looked at under the account and tier of its order."""
    for number in range(2):
        await service.register(f"order-{number}", account="shop-b", tier=tier)
    await sandbox.faults(webhook_drop=True)
    paid = [(await sandbox.pay(f"order-{n}", 64900, account="shop-b", tier=tier))["imp_uid"] for n in range(2)]
    assert (await service.complete(paid[0], "order-0"))[1]["state"] == "paid"
    body = {"imp_uid": paid[1], "merchant_uid": "order-1", "status": "paid"}
    assert (await service.call("POST", "/webhooks/portone/v1", json=body))[0] == 200
    await service.becomes("order-1", state="paid")


async def test_one_account_whose_key_is_refused_stops_no_other(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A refused key delays only its own account's notices, and they are settled once the key is corrected."""
    for account in ("default", "shop-b"):
        await service.register(f"order-{account}", account=account)
    await sandbox.control("POST", "account", account="shop-b", imp_secret="rotated", expire_token=True)
    imp_uid = (await sandbox.pay("order-shop-b", 64900, account="shop-b"))["imp_uid"]
    await sandbox.pay("order-default", 64900)
    await service.becomes("order-default", state="paid")

    async def refused() -> bool:
        return [row["last_outcome"] for row in await stored.notices(pool, imp_uid)][:1] == ["portone_refused"]

    await until(refused)
    assert await stored.events(pool, "order-shop-b") == [(1, "pending")]
    await sandbox.control("POST", "account", account="shop-b", imp_secret="imp_secret_b")
    await service.becomes("order-shop-b", state="paid")


async def test_what_an_account_that_was_removed_leaves_waits(
    settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A removed account's order stays as it is, delays no other, and its ledger does not break the promise."""
    async with running_receiver(settings) as receiver:
        await receiver.register("order-b", account="shop-b")
        await pool.execute("INSERT INTO ledger_scans VALUES ('shop-b', '', now(), 1, false, now() - interval '1 day')")
    async with (
        running_receiver(settings.model_copy(update={"portone_accounts": {}})) as receiver,
        running_worker(settings.model_copy(update={"portone_accounts": {}})),
    ):
        sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
        await receiver.register("order-1")
        status, _ = await receiver.complete("imp_1", "order-b", headers={"Prefer": "wait=1"})
        await sandbox.pay("order-1", 64900)
        await receiver.becomes("order-1", state="paid")
        assert status == 202

        async def refused() -> bool:
            return [row["last_outcome"] for row in await stored.notices(pool, "imp_1")] == ["store_not_configured"]

        await until(refused)
        assert await stored.events(pool, "order-b") == [(1, "pending")]
        measures = (await receiver.call("GET", "/healthz/promise", headers=bearer()))[1]
        assert not [reason for reason in measures["broken"] if "ledger" in reason], measures


class TestByItself:
    """Reconciliation, a hundred times as fast, with every webhook dropped."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"time_scale": 0.01})

    async def test_the_ledger_of_each_is_walked(self, service: RunningService, sandbox: RunningSandbox) -> None:
        """Without any notice, the orders of every account and tier are paid."""
        await sandbox.faults(webhook_drop=True)
        for number, (account, tier) in enumerate(STORES):
            await service.register(f"order-{number}", account=account, tier=tier)
            await sandbox.pay(f"order-{number}", 64900, account=account, tier=tier)
        for number in range(len(STORES)):
            await service.becomes(f"order-{number}", state="paid", problems=[])

    async def test_a_payment_of_another_account_is_found(
        self, service: RunningService, sandbox: RunningSandbox, pool: Pool
    ) -> None:
        """An unannounced payment of another account is found in its own ledger, and is `wrong_store`."""
        await sandbox.faults(webhook_drop=True)
        await service.register("order-1")
        imp_uid = (await sandbox.pay("order-1", 64900, account="shop-b"))["imp_uid"]
        await service.becomes("order-1", state="mismatched", problems=[{"kind": "wrong_store", "imp_uid": imp_uid}])
        assert await stored.never_paid(pool)

    async def test_a_walk_that_is_refused_stops_no_other(
        self, service: RunningService, sandbox: RunningSandbox
    ) -> None:
        """A 401 for one account's ledger does not keep the other's lost webhook from being found."""
        await sandbox.faults(webhook_drop=True)
        await sandbox.control("POST", "account", account="default", imp_secret="rotated", expire_token=True)
        await service.register("order-b", account="shop-b")
        await sandbox.pay("order-b", 64900, account="shop-b")
        await service.becomes("order-b", state="paid")

    async def test_each_account_has_its_own_prepared_amount(self, settings: Settings, sandbox: RunningSandbox) -> None:
        """With PREPARE_AMOUNT the SDK of the order's account refuses another amount."""
        preparing = settings.model_copy(update={"prepare_amount": True})
        async with running_receiver(preparing) as receiver, running_worker(preparing):
            await receiver.register("order-b", account="shop-b")
            await receiver.becomes("order-b", prepared="done")
        statuses, url = [], f"{sandbox.url}/_control/payments"
        for account in ("default", "shop-b"):
            body = {"merchant_uid": "order-b", "amount": 1, "account": account}
            async with ClientSession() as session, session.post(url, json=body) as answer:
                statuses.append(answer.status)
        assert statuses == [201, 409]


@pytest.mark.parametrize(
    ("path", "account", "tier"),
    [
        ("accounts", None, "accounts"),
        ("zzz", None, "zzz"),
        ("zzz/", None, "zzz"),
        ("accounts/nobody", "nobody", None),
        ("accounts/nobody/abc", "nobody", "abc"),
        ("accounts/shop-b/zzz", "shop-b", "zzz"),
        ("accounts/DEFAULT", "DEFAULT", None),
        ("accounts/%EA%B0%80%EA%B2%8C", "가게", None),
    ],
)
async def test_a_webhook_of_a_store_that_is_not_configured_is_recorded(
    receiver: RunningService, pool: Pool, path: str, account: str | None, tier: str | None
) -> None:
    """PortOne never repeats a 4xx, so the notice is kept with the account and tier that its address named."""
    status, body = await receiver.call("POST", f"/webhooks/portone/v1/{path}", json={"imp_uid": "imp_1"})
    assert (status, body) == (200, "OK")
    [row] = await stored.notices(pool, "imp_1")
    assert (row["account"], row["tier"]) == (account, tier)


@pytest.mark.parametrize("name", ["%00", "a%0ab", "x" * 65])
@pytest.mark.parametrize("path", ["", "accounts/", "accounts/shop-b/"])
async def test_a_webhooks_address_that_names_nothing(
    receiver: RunningService, pool: Pool, path: str, name: str
) -> None:
    """An account or tier that could not be stored is no address of ours."""
    url = URL(f"{receiver.url}/webhooks/portone/v1/{path}{name}", encoded=True)
    async with receiver.session.post(url, json={"imp_uid": "imp_1"}) as answer:
        assert answer.status == 404
    assert await stored.count(pool, "notices") == 0


@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ({"account": "nobody"}, "unknown-account"),
        ({"account": ""}, "unknown-account"),
        ({"account": "shop-b", "tier": "zzz"}, "unknown-tier"),
        ({"account": 7}, "invalid-order"),
    ],
)
async def test_an_order_of_no_store(receiver: RunningService, terms: dict[str, object], kind: str) -> None:
    """An order of an unknown store is answered 400 with one sentence."""
    order = {"merchant_uid": "order-1", "amount": 1, **terms}
    status, body = await receiver.call("POST", "/orders", json=order, headers=bearer())
    assert (status, body["type"].rpartition(":")[2]) == (400, kind)
    assert body["detail"].count(".") == 1


async def test_the_account_is_one_of_the_terms(receiver: RunningService) -> None:
    """The default account is `default`, and the same number under another account is answered 409."""
    assert (await receiver.register("order-1"))["account"] == "default"
    assert (await receiver.register("order-1", account="default"))["version"] == 1
    order = {"merchant_uid": "order-1", "amount": 64900, "account": "shop-b"}
    assert (await receiver.call("POST", "/orders", json=order, headers=bearer()))[0] == 409
