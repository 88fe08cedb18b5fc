"""Orders that are registered in one call have the results that calls of their own would have."""

import io
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, bearer, running_receiver
from tests.service import stored
from tests.service.http.refusals import refused

BATCH = "/orders:batch"


async def _register(service: RunningService, *orders: Any) -> list[dict[str, Any]]:
    status, body = await service.call("POST", BATCH, json={"orders": orders}, headers=bearer())
    assert status == 200, body
    results: list[dict[str, Any]] = body["results"]
    assert len(results) == len(orders)
    return results


def _order(number: int, amount: int = 64900, **terms: Any) -> dict[str, Any]:
    return {"merchant_uid": f"order-{number:03}", "amount": amount, **terms}


async def test_each_order_has_its_own_result(receiver: RunningService, pool: Pool) -> None:
    """New, known, other, wrong and unreadable orders stand beside each other, each as its own call is answered."""
    await receiver.register("order-001")
    await receiver.register("order-002")
    given = [
        _order(1), _order(2, 1), _order(3), _order(4, 0), 7, _order(5, tier="zzz"), {"merchant_uid": "a\0b"},
        _order(3), _order(3, 1), _order(6, metadata={"a": 1}),
    ]  # fmt: skip
    results = await _register(receiver, *given)
    assert [result["status"] for result in results] == [200, 409, 201, 400, 400, 400, 400, 200, 409, 201]
    assert [result["merchant_uid"] for result in results] == [
        "order-001", "order-002", "order-003", "order-004", None, "order-005", None, "order-003", "order-003",
        "order-006",
    ]  # fmt: skip
    for order, result in zip(given, results, strict=True):
        status, body = await receiver.call("POST", "/orders", json=order, headers=bearer())
        assert status == result["status"] or (status, result["status"]) == (200, 201)
        # A token tells the second at which it ends.
        assert body | {"checkout_token": None} == (result["order"] or result["problem"]) | {"checkout_token": None}
    assert await stored.count(pool, "orders") == 4


async def test_five_hundred(receiver: RunningService, pool: Pool) -> None:
    """500 orders are registered in one call, in their order, and again change nothing."""
    orders = [_order(number, metadata={"text": "x" * 1_000}) for number in range(500)]
    for status in (201, 200):
        results = await _register(receiver, *orders)
        assert {result["status"] for result in results} == {status}
        assert [result["order"]["merchant_uid"] for result in results] == [order["merchant_uid"] for order in orders]
    assert await stored.count(pool, "order_events") == 500


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b'{"orders": {}}', b'{"orders": []}', b'{"orders": [{}], "more": 1}', b'{"orders": ['],
)
async def test_what_is_no_batch(receiver: RunningService, pool: Pool, body: bytes) -> None:
    """A body that is no list of orders is refused whole."""
    headers = bearer() | {"Content-Type": "application/json"}
    await refused(receiver, "POST", BATCH, 400, data=body, headers=headers)
    await refused(receiver, "POST", BATCH, 415, data=body, headers=bearer() | {"Content-Type": "text/plain"})
    await refused(receiver, "POST", BATCH, 401, data=body, headers={"Content-Type": "application/json"})
    assert await stored.count(pool, "orders") == 0


async def test_too_many_and_too_large(receiver: RunningService, pool: Pool) -> None:
    """More than 500 orders, or more than 1 MiB, are refused whole; other calls still have their 64 KiB."""
    headers = bearer() | {"Content-Type": "application/json"}
    many = orjson.dumps({"orders": [_order(number) for number in range(501)]})
    await refused(receiver, "POST", BATCH, 400, data=many, headers=headers)
    large = many + b" " * (1024 * 1024 - len(many) + 1)
    status, body = await receiver.call("POST", BATCH, data=io.BytesIO(large), headers=headers)
    assert (status, body["detail"]) == (413, "Send a body of at most 1024 KiB.")
    status, body = await receiver.call("POST", "/orders", data=b" " * (64 * 1024 + 1), headers=headers)
    assert (status, body["detail"]) == (413, "Send a body of at most 64 KiB.")
    assert await stored.count(pool, "orders") == 0


async def test_postgres_away(settings: Settings) -> None:
    """Without Postgres the whole call is answered 503; an order that is wrong by itself is still told so."""
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://127.0.0.1:1/none")})
    async with running_receiver(away) as receiver:
        orders = [_order(number) for number in range(100)]
        async with receiver.session.post(receiver.url + BATCH, json={"orders": orders}, headers=bearer()) as answer:
            assert (answer.status, "Retry-After" in answer.headers) == (503, True)
            assert (await answer.json())["type"] == "urn:portone-orders:problem:postgres-away"
        results = await _register(receiver, _order(1, 0), *orders)
    assert [result["status"] for result in results] == [400] + [503] * 100
