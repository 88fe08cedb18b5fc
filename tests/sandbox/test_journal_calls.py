"""A V1 call is recorded for the watched orders that it names or that its answer holds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from sandbox.world import WORLD
from tests.sandbox_client import RunningSandbox


@pytest.fixture
async def v1(sandbox: RunningSandbox) -> AsyncIterator[ClientSession]:
    """A client with a live token."""
    keys = {"imp_key": sandbox.imp_key, "imp_secret": sandbox.imp_secret}
    async with ClientSession(sandbox.url) as session:
        async with session.post("/users/getToken", json=keys) as answer:
            token = (await answer.json())["response"]["access_token"]
        session.headers["Authorization"] = token
        yield session


def calls(sandbox: RunningSandbox, merchant_uid: str = "order-1") -> list[tuple[str, int, list[Any]]]:
    """The recorded calls: what kind, what was answered, and the statuses of the payments in it."""
    events = sandbox.app[WORLD].journal.events(merchant_uid)
    found = [event for event in events if event.kind.startswith("portone.")]
    return [(e.kind, e.evidence["answer_status"], [p.get("status") for p in e.evidence["payments"]]) for e in found]


async def test_looks_are_recorded_as_they_were_answered(sandbox: RunningSandbox, v1: ClientSession) -> None:
    """One by one, in a batch, by order or refused: each look is there with its status and the payment's."""
    sandbox.app[WORLD].watch_order("order-1")
    imp_uid = (await sandbox.open("order-1", 1000))["imp_uid"]
    await sandbox.pay("order-2", 1000)
    paths = (f"/payments/{imp_uid}", f"/payments?imp_uid[]={imp_uid}&imp_uid[]=imp_2", "/payments/find/order-1")
    for path in paths:
        await v1.get(path)
    await sandbox.faults(api_answer="500")
    await v1.get(f"/payments/{imp_uid}")
    await sandbox.faults(api_answer="garbage")
    await v1.get(f"/payments/{imp_uid}")
    ready = ("portone.look", 200, ["ready"])
    batch = ("portone.look", 207, ["ready"])
    assert calls(sandbox) == [ready, batch, ready, ("portone.look", 500, []), ("portone.look", 200, [])]
    assert calls(sandbox, "order-2") == []


async def test_a_list_is_recorded_when_it_says_something_new(sandbox: RunningSandbox, v1: ClientSession) -> None:
    """Of the scans that come every few seconds, only those that show the payment otherwise than before."""
    sandbox.app[WORLD].watch_order("order-1")
    imp_uid = (await sandbox.open("order-1", 1000))["imp_uid"]
    for _ in range(3):
        await v1.get("/payments/status/all")
    await sandbox.move(imp_uid, "pay")
    await v1.get("/payments/status/all")
    assert calls(sandbox) == [("portone.list", 200, ["ready"]), ("portone.list", 200, ["paid"])]


async def test_a_refund_and_a_prepared_amount_are_recorded(sandbox: RunningSandbox, v1: ClientSession) -> None:
    """The service's writing calls are recorded under their own names."""
    sandbox.app[WORLD].watch_order("order-1")
    await v1.post("/payments/prepare", json={"merchant_uid": "order-1", "amount": 1000})
    imp_uid = (await sandbox.pay("order-1", 1000))["imp_uid"]
    await v1.post("/payments/cancel", json={"imp_uid": imp_uid})
    assert calls(sandbox) == [("portone.prepare", 200, [None]), ("portone.cancel", 200, ["cancelled"])]
