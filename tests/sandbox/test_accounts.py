"""Several accounts: each sees its own payments, with its own key, and no other's."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from sandbox.app import create_app
from sandbox.config import Keys, SandboxConfig
from sandbox.ledger import Ledger, Prepared, Terms
from sandbox.money import read_amount
from sandbox.payment import Owner
from sandbox.state_file import dump, load
from tests.sandbox.conftest import Caller, Clock, Shop

KEYS = Keys("key_b", "secret_b")


@pytest.fixture
async def stranger(clock: Clock, shop: Shop) -> AsyncIterator[Caller]:
    server = TestServer(create_app(SandboxConfig(webhook_url=shop.url, accounts={"shop-b": KEYS}), clock))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield Caller(session, str(server.make_url("")).rstrip("/"))
    await server.close()


@pytest.fixture
async def shop_b(stranger: Caller, portone: Caller) -> Caller:
    """The second account, logged in beside the first."""
    caller = Caller(portone.session, portone.url)
    token = await caller.call("POST", "/users/getToken", json={"imp_key": "key_b", "imp_secret": "secret_b"})
    caller.headers = {"Authorization": token.response["access_token"]}
    return caller


async def test_a_payment_is_seen_by_its_own_account_alone(portone: Caller, shop_b: Caller) -> None:
    """One by one, as a batch, by its order and in the ledger: 404 or absent under another account."""
    imp_uid = await portone.pay("order-1", account="shop-b")
    own = await portone.pay("order-1")
    for path in (f"/payments/{imp_uid}", f"/payments?imp_uid[]={imp_uid}"):
        assert ((await shop_b.v1(path)).status, (await portone.v1(path)).status) == (200, 404)
    assert (await portone.v1("/payments/find/order-1")).response["imp_uid"] == own
    assert [one["imp_uid"] for one in (await shop_b.v1("/payments/status/all")).response["list"]] == [imp_uid]


async def test_a_payment_is_given_back_by_its_own_account_alone(portone: Caller, shop_b: Caller) -> None:
    """Another account's cancel is refused, as for a payment that is not there."""
    imp_uid = await portone.pay("order-1", account="shop-b")
    assert (await portone.cancel(imp_uid=imp_uid)).code == 1
    assert (await shop_b.cancel(imp_uid=imp_uid)).response["status"] == "cancelled"


async def test_each_account_has_its_own_keys(portone: Caller, shop_b: Caller) -> None:
    """A key opens with its own secret only, and one account's new secret changes nothing for the other."""
    crossed = {"imp_key": "key_b", "imp_secret": "imp_sandbox_secret"}
    assert (await portone.call("POST", "/users/getToken", json=crossed)).status == 401
    await portone.control("account", account="shop-b", expire_token=True)
    assert ((await shop_b.v1("/payments/status/all")).status, (await portone.v1("/payments/status/all")).status) == (
        401,
        200,
    )


async def test_prepared_amounts_are_the_accounts_own(portone: Caller, shop_b: Caller) -> None:
    """An amount that one account has prepared does not exist for the other."""
    await shop_b.call("POST", "/payments/prepare", json={"merchant_uid": "order-1", "amount": 500})
    assert (await portone.v1("/payments/prepare/order-1")).status == 404
    await portone.open("order-1", 1000)
    refused = await portone.control("payments", merchant_uid="order-1", amount=1000, account="shop-b")
    assert refused.status == 409


async def test_webhooks_go_to_the_accounts_own_address(portone: Caller, shop: Shop) -> None:
    """The Endpoint URL with the account behind it, and a tier's behind that."""
    imp_uid = await portone.pay("order-1", account="shop-b")
    await portone.pay("order-2", account="shop-b", tier="abc")
    await portone.control("webhooks/send", imp_uid=imp_uid, account="default", tier="abc")
    paths = [arrival.path for arrival in shop.so_far()]
    assert paths == ["/hook/accounts/shop-b", "/hook/accounts/shop-b/abc", "/hook/abc"]


async def test_an_account_that_it_does_not_play(portone: Caller) -> None:
    """One sentence that names those that it plays."""
    answer = await portone.control("pay", merchant_uid="order-1", amount=1, account="shop-c")
    assert (answer.status, answer.content) == (400, {"error": "account must be one of default, shop-b."})


def test_a_state_file_keeps_the_accounts(tmp_path: Path) -> None:
    """Payments and prepared amounts come back under the account and tier that they were made for."""
    ledger, loaded = (Ledger(lambda: 1.5) for _ in range(2))
    ledger.pay(ledger.open(Terms("order-1", read_amount(1000), account="shop-b")))
    ledger.prepare(Owner("shop-b", "abc"), "order-2", Prepared(read_amount("6.50")))
    file = tmp_path / "state.json"
    file.write_bytes(dump(ledger))
    load(loaded, file)
    assert (list(loaded.payments()), loaded.prepared) == (list(ledger.payments()), ledger.prepared)
