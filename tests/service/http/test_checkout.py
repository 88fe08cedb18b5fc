"""A buyer's page reads its order's state with a token, and learns of a change as it happens."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

import pytest

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, bearer, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service.http.refusals import is_problem

SHOP = "https://shop.example.test"


async def token_of(service: RunningService, merchant_uid: str = "order-1") -> dict[str, str]:
    """Register an order; return the header that sends its token."""
    return bearer((await service.register(merchant_uid))["checkout_token"])


async def read(service: RunningService, headers: dict[str, str], merchant_uid: str = "order-1") -> tuple[int, Any]:
    return await service.call("GET", f"/checkout/{quote(merchant_uid, safe='')}", headers=headers)


@pytest.mark.parametrize("merchant_uid", ["order-1", '주문/2026-11-24 "1"', "{x}%2F?"])
async def test_a_page_sees_the_state_and_nothing_else(receiver: RunningService, merchant_uid: str) -> None:
    """The token of an order opens its state: no amount, no payment, no metadata."""
    token = await token_of(receiver, merchant_uid)
    state = {"merchant_uid": merchant_uid, "state": "pending", "closed": None, "version": 1}
    assert await read(receiver, token, merchant_uid) == (200, state)


async def test_registering_again_gives_a_fresh_token(receiver: RunningService) -> None:
    """A shop whose page's token has ended registers the same order again, and both tokens work until their ends."""
    for _ in range(2):
        assert (await read(receiver, await token_of(receiver)))[0] == 200


async def test_another_orders_token_opens_nothing(receiver: RunningService) -> None:
    """Another order's token, a service key and nothing at all are each 401, whether the order exists or not."""
    token = await token_of(receiver)
    await receiver.register("order-2")
    for headers in (token, bearer(), bearer("x" * 28), {}):
        for merchant_uid in ("order-2", "order-9"):
            status, body = await read(receiver, headers, merchant_uid)
            is_problem(status, body, 401)
            assert body["type"].endswith(":checkout-token")


async def test_a_token_in_the_address_is_none(receiver: RunningService) -> None:
    """A token is taken from the header only, because addresses end up in logs."""
    token = (await receiver.register("order-1"))["checkout_token"]
    for name in ("token", "checkout_token", "access_token"):
        assert (await receiver.call("GET", "/checkout/order-1", params={name: token}))[0] == 401


async def test_a_token_ends(settings: Settings) -> None:
    """After its lifetime a token is 401, with a sentence that says how to get another."""
    async with running_receiver(settings.model_copy(update={"checkout_token_seconds": -1.0})) as receiver:
        status, body = await read(receiver, await token_of(receiver))
    is_problem(status, body, 401)
    assert "has ended" in body["detail"]


async def test_a_wait_ends_with_its_token(settings: Settings) -> None:
    """A page whose token ends while it waits is answered 401 then, and learns nothing more."""
    lives = settings.model_copy(update={"checkout_token_seconds": 2.0})
    async with running_receiver(lives) as receiver, asyncio.timeout(15):
        headers = {**await token_of(receiver), "If-None-Match": '"1"', "Prefer": "wait=20"}
        status, body = await read(receiver, headers)
    is_problem(status, body, 401)
    assert "has ended" in body["detail"]


async def test_without_a_secret_there_are_no_tokens(settings: Settings) -> None:
    """Without CHECKOUT_SECRETS a registration has no token, and no token opens anything."""
    async with running_receiver(settings) as receiver:
        token = await token_of(receiver)
    async with running_receiver(settings.model_copy(update={"checkout_secrets": ()})) as receiver:
        assert (await receiver.register("order-1"))["checkout_token"] is None
        assert (await read(receiver, token))[0] == 401


async def test_a_page_is_told_when_nothing_changed(receiver: RunningService) -> None:
    """A page that has the version gets 304 with its ETag, after the wait if it asked for one."""
    token = await token_of(receiver)
    began = time.monotonic()
    for prefer, applied in (({}, None), ({"Prefer": "wait=1"}, "wait=1")):
        headers = {**token, "If-None-Match": '"1"', **prefer}
        async with receiver.session.get(f"{receiver.url}/checkout/order-1", headers=headers) as answer:
            assert (answer.status, answer.headers["ETag"]) == (304, '"1"')
            assert answer.headers.get("Preference-Applied") == applied
            assert answer.headers["Cache-Control"] == "no-store"
    assert time.monotonic() - began >= 1


async def test_a_page_does_not_wait_for_what_it_does_not_have(receiver: RunningService) -> None:
    """A page that names no version, or an older one, is answered at once."""
    token = await token_of(receiver)
    async with asyncio.timeout(10):
        for known in ({}, {"If-None-Match": '"7"'}):
            assert (await read(receiver, {**token, "Prefer": "wait=20", **known}))[0] == 200


async def test_a_waiting_page_learns_of_the_payment(service: RunningService, sandbox: RunningSandbox) -> None:
    """A page that waits is answered with the change, by what the worker says and not by asking again."""
    token = await token_of(service)
    headers = {**token, "If-None-Match": '"1"', "Prefer": "wait=20"}
    waiting = asyncio.create_task(read(service, headers))
    await asyncio.sleep(0)
    await sandbox.pay("order-1", 64900)
    status, body = await waiting
    while status == 304:  # on a very slow machine the wait may end before
        status, body = await read(service, headers)
    assert (status, body["state"], body["version"]) == (200, "paid", 2)


async def test_a_read_costs_other_services_nothing(receiver: RunningService, pool: Pool) -> None:
    """Checkout reads that hang leave the reads of other services their connection."""
    token = await token_of(receiver)
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        hanging = [asyncio.create_task(read(receiver, token)) for _ in range(5)]
        await asyncio.sleep(0.1)
    assert {status for status, _ in await asyncio.gather(*hanging)} == {200}
    metrics = (await receiver.call("GET", "/metrics", headers=bearer()))[1]
    assert 'work_items_total{work="reads"} 0.0' in metrics
    assert 'work_items_total{work="checkout"} 5.0' in metrics


@pytest.mark.usefixtures("still_limits")
async def test_a_clients_reads_are_limited(settings: Settings) -> None:
    """Beyond its rate a client is 429, with the time to wait, whatever its token is worth."""
    async with running_receiver(settings.model_copy(update={"checkouts_per_client": 2.0})) as receiver:
        answers = [await read(receiver, bearer("x")) for _ in range(3)]
        assert [status for status, _ in answers] == [401, 401, 429]
        async with receiver.session.get(f"{receiver.url}/checkout/order-1") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


async def test_configured_pages_may_read(settings: Settings) -> None:
    """A configured origin may send the token and read the state and its ETag, and no other origin may."""
    async with running_receiver(settings.model_copy(update={"cors_origins": (SHOP,)})) as receiver:
        token = await token_of(receiver)
        for origin, allowed in ((SHOP, SHOP), ("https://elsewhere.example", None)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            async with receiver.session.options(f"{receiver.url}/checkout/order-1", headers=asked) as answer:
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
                if allowed:
                    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
                    assert answer.headers["Access-Control-Allow-Methods"] == "GET"
            headers = {**token, "Origin": origin}
            async with receiver.session.get(f"{receiver.url}/checkout/order-1", headers=headers) as answer:
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
                assert ("ETag" in answer.headers.get("Access-Control-Expose-Headers", "")) == bool(allowed)


async def test_an_order_that_is_gone_is_404(receiver: RunningService, pool: Pool) -> None:
    """A token of an order that the database does not have is answered 404."""
    token = await token_of(receiver)
    await pool.execute("DELETE FROM orders")

    async def is_gone() -> bool:
        return (await read(receiver, token))[0] == 404

    await until(is_gone)
