"""The history of an order over HTTP: every version, each with what led to it."""

from typing import Any

from service.db.pool import Pool
from tests.running import RunningService, bearer
from tests.sandbox_client import RunningSandbox
from tests.service import stored


async def _history(service: RunningService, path: str = "/orders/order-1/history", **params: Any) -> tuple[int, Any]:
    return await service.call("GET", path, params=params, headers=bearer())


async def test_every_change_has_its_evidence(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A registration, an amendment and a look stand in order, and the look has its notice and what PortOne said."""
    await service.register("order-1", 100)
    await service.call("PATCH", "/orders/order-1", json={"amount": 64900}, headers=bearer() | {"If-Match": '"1"'})
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    order = await service.becomes("order-1", state="paid")
    status, body = await _history(service)
    assert (status, body["merchant_uid"], body["next"]) == (200, "order-1", None)
    registered, amended, paid = body["versions"]
    assert [version["version"] for version in body["versions"]] == [1, 2, 3]
    assert [version["evidence"]["cause"] for version in body["versions"]] == ["registration", "amendment", "look"]
    assert (registered["amount"], amended["amount"], paid["amount"]) == (100, 64900, 64900)
    assert (registered["state"], paid["state"], paid["paid_amount"], paid["imp_uid"]) == (
        "pending", "paid", 64900, imp_uid,
    )  # fmt: skip
    assert (registered["at"], paid["at"]) == (order["created_at"], order["updated_at"])
    evidence = paid["evidence"]
    event = await pool.fetchrow("SELECT * FROM order_events WHERE version = 3")
    assert event is not None
    assert (evidence["notice_id"], evidence["ticket"]) == (str(event["notice_id"]), event["ticket"])
    assert evidence["source"] in ("webhook", "reconcile")
    assert evidence["looked_at"] is not None
    assert [(facts["imp_uid"], facts["status"]) for facts in evidence["facts"]] == [(imp_uid, "paid")]


async def test_who_and_why(service: RunningService) -> None:
    """A person's withdrawal says who and why."""
    await service.register("order-1")
    force = {"force": True, "who": "kim", "why": "the buyer called"}
    assert (await service.call("POST", "/orders/order-1/withdraw", json=force, headers=bearer()))[0] == 200
    _, body = await _history(service, after=1)
    [version] = body["versions"]
    evidence = version["evidence"]
    assert (version["closed"], evidence["cause"]) == ("withdrawn", "withdrawal")
    assert (evidence["who"], evidence["why"]) == ("kim", "the buyer called")


async def test_pages(receiver: RunningService, pool: Pool) -> None:
    """A history comes page by page, and a page after the last version is empty."""
    await receiver.register("order-1")
    for amount in range(1, 5):
        await receiver.call(
            "PATCH", "/orders/order-1", json={"amount": amount}, headers=bearer() | {"If-Match": f'"{amount}"'}
        )
    pages, after = [], 0
    while after is not None:
        _, body = await _history(receiver, after=after, limit=2)
        pages.append([version["version"] for version in body["versions"]])
        after = body["next"]
    assert pages == [[1, 2], [3, 4], [5]]
    assert await _history(receiver, after=5) == (200, {"merchant_uid": "order-1", "versions": [], "next": None})
    assert await stored.count(pool, "order_events") == 5


async def test_an_unknown_order(receiver: RunningService) -> None:
    """A number that nobody registered is 404, on any page, and so is one that cannot be registered."""
    for path in ("order-9", "%00"):
        for after in (0, 7):
            status, body = await _history(receiver, f"/orders/{path}/history", after=after)
            assert (status, body["type"]) == (404, "urn:portone-orders:problem:order-not-registered")


async def test_wrong_parameters(receiver: RunningService) -> None:
    """A version or size out of range is refused in one sentence."""
    await receiver.register("order-1")
    for params in ({"after": -1}, {"after": 2**31}, {"after": "x"}, {"limit": 0}, {"limit": 501}, {"cursor": "x"}):
        status, body = await _history(receiver, **params)
        assert (status, body["type"]) == (400, "urn:portone-orders:problem:invalid-parameters")
