"""An order's terms may be amended or withdrawn before payment, and unpaid orders expire."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.db.pool import Pool, in_transaction
from service.usecases.closing import expire
from tests.running import PATIENT, RunningService, bearer
from tests.sandbox_client import RunningSandbox
from tests.service import stored


async def _amend(service: RunningService, version: int | None = 1, **changes: Any) -> tuple[int, Any]:
    headers = bearer() | ({"If-Match": f'"{version}"'} if version is not None else {})
    return await service.call("PATCH", "/orders/order-1", json=changes, headers=headers)


async def _withdraw(service: RunningService, **headers: str) -> tuple[int, Any]:
    return await service.call("POST", "/orders/order-1/withdraw", headers=bearer() | PATIENT | headers)


async def _events(pool: Pool) -> list[tuple[int, str, int, str | None]]:
    rows = await pool.fetch("SELECT * FROM order_events WHERE merchant_uid = 'order-1' ORDER BY id")
    return [(row["version"], row["state"], row["amount"], row["closed"]) for row in rows]


async def _make_overdue(pool: Pool, merchant_uid: str = "order-1") -> None:
    await pool.execute(
        "UPDATE orders SET expires_at = now() - interval '1 second' WHERE merchant_uid = $1", merchant_uid
    )


async def _expire(pool: Pool, *merchant_uids: str) -> list[str]:
    """Close those of the orders whose time is over, as after PortOne was asked."""
    return await in_transaction(pool, expire, merchant_uids, timedelta(days=1), allow_test_channel=False)


def _kind(problem: Any) -> str:
    return str(problem["type"]).removeprefix("urn:portone-orders:problem:")


async def test_an_amended_amount_is_what_must_be_paid(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """An order amended before payment is paid by its new amount, with a version and an event for each change."""
    await service.register("order-1", 64900)
    status, order = await _amend(service, amount=50000, name="Two books")
    assert (status, order["amount"], order["version"], order["name"]) == (200, 50000, 2, "Two books")
    await sandbox.pay("order-1", 50000)
    await service.becomes("order-1", state="paid", paid_amount=50000, version=3)
    assert await _events(pool) == [
        (1, "pending", 64900, None),
        (2, "pending", 50000, None),
        (3, "paid", 50000, None),
    ]


async def test_the_etag_is_the_version(receiver: RunningService) -> None:
    """Every answer about an order carries its version as a strong ETag."""
    await receiver.register("order-1")
    async with receiver.session.get(f"{receiver.url}/orders/order-1", headers=bearer()) as answer:
        assert answer.headers["ETag"] == '"1"'
    headers = bearer() | {"If-Match": '"1"'}
    async with receiver.session.patch(f"{receiver.url}/orders/order-1", json={"amount": 1}, headers=headers) as answer:
        assert answer.headers["ETag"] == '"2"'


async def test_an_amendment_must_say_what_it_was_based_on(receiver: RunningService, pool: Pool) -> None:
    """An amendment without a valid If-Match is refused with 428, 412 or 400, and changes nothing."""
    await receiver.register("order-1")
    answers = [await _amend(receiver, None, amount=1), await _amend(receiver, 7, amount=1)]
    for if_match in ('W/"1"', "1", '"1'):
        headers = bearer() | {"If-Match": if_match}
        answers.append(await receiver.call("PATCH", "/orders/order-1", json={"amount": 1}, headers=headers))
    assert [(status, _kind(problem)) for status, problem in answers] == [
        (428, "if-match-required"),
        (412, "version-moved"),
        (412, "version-moved"),
        (400, "malformed-if-match"),
        (400, "malformed-if-match"),
    ]
    assert await _events(pool) == [(1, "pending", 64900, None)]


@pytest.mark.parametrize("if_match", ["*", '"9", "1"'])
async def test_if_match_may_name_any_or_several(receiver: RunningService, if_match: str) -> None:
    """If-Match may be a star, which matches every version, or a list of tags."""
    await receiver.register("order-1")
    status, order = await receiver.call(
        "PATCH", "/orders/order-1", json={"amount": 1}, headers=bearer() | {"If-Match": if_match}
    )
    assert (status, order["amount"]) == (200, 1)


async def test_of_two_amendments_at_once_one_wins(receiver: RunningService, pool: Pool) -> None:
    """Of two amendments of the same version one succeeds, and the other is refused with 412."""
    await receiver.register("order-1")
    answers = await asyncio.gather(_amend(receiver, amount=1), _amend(receiver, amount=2))
    assert sorted(status for status, _ in answers) == [200, 412]
    assert len(await _events(pool)) == 2


async def test_an_amendment_that_changes_nothing_writes_nothing(receiver: RunningService, pool: Pool) -> None:
    """An amendment with the same terms, or none, makes no new version."""
    await receiver.register("order-1", 64900)
    same_terms: tuple[dict[str, Any], ...] = ({}, {"amount": 64900, "currency": "KRW", "name": None})
    for changes in same_terms:
        status, order = await _amend(receiver, **changes)
        assert (status, order["version"]) == (200, 1)
    assert len(await _events(pool)) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"currency": "won"}, "currency"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": None}, "expires_at"),
        ({"merchant_uid": "other"}, "merchant_uid"),
        ({"name": "a\u0000b"}, "name"),
    ],
)
async def test_bad_terms_are_refused_in_one_sentence(
    receiver: RunningService, changes: dict[str, Any], field: str
) -> None:
    """Impossible terms are refused with a 400 that names the field."""
    await receiver.register("order-1")
    status, problem = await _amend(receiver, **changes)
    assert (status, _kind(problem)) == (400, "invalid-order")
    assert problem["detail"].startswith(f"Correct these fields: {field}: ")


async def test_terms_need_a_service_key_and_an_order(receiver: RunningService) -> None:
    """Terms cannot be changed without a key (401) or of an unknown order (404)."""
    for method, path in (("PATCH", "/orders/order-1"), ("POST", "/orders/order-1/withdraw")):
        assert (await receiver.call(method, path, json={}))[0] == 401
    for name in ("order-1", "x" * 256):
        headers = bearer() | {"If-Match": '"1"'}
        assert (await receiver.call("PATCH", f"/orders/{name}", json={}, headers=headers))[0] == 404
        assert (await receiver.call("POST", f"/orders/{name}/withdraw", headers=bearer()))[0] == 404


@pytest.mark.parametrize("amount", [64900, 100])
async def test_terms_stay_once_money_is_held(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, amount: int
) -> None:
    """An order with held money can be neither amended nor withdrawn."""
    await service.register("order-1", 64900)
    await sandbox.pay("order-1", amount)
    order = await service.becomes("order-1", version=2)
    for answer in (await _amend(service, 2, amount=amount), await _withdraw(service)):
        assert (answer[0], _kind(answer[1])) == (409, "money-came")
    assert (await stored.order(pool, "order-1"))["version"] == order["version"] == 2


async def test_terms_stay_once_the_price_was_paid_and_given_back(
    service: RunningService, sandbox: RunningSandbox
) -> None:
    """The amount of an order that was paid and refunded cannot be amended."""
    await service.register("order-1", 64900)
    payment = await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid")
    await sandbox.move(payment["imp_uid"], "cancel")
    order = await service.becomes("order-1", state="cancelled")
    assert (await _amend(service, order["version"], amount=1))[0] == 409


async def test_amending_settles_what_is_stored(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A payment of another amount becomes the order's once the order's amount is corrected."""
    await service.register("order-1", 64900)
    payment = await sandbox.open("order-1", 50000, pay_method="vbank")
    await sandbox.move(payment["imp_uid"], "issue")
    order = await service.becomes("order-1", problems=[{"kind": "wrong_amount", "imp_uid": payment["imp_uid"]}])
    status, amended = await _amend(service, order["version"], amount=50000)
    assert (status, amended["state"], amended["problems"]) == (200, "awaiting_deposit", [])
    assert amended["payment"]["imp_uid"] == payment["imp_uid"]
    assert (await _events(pool))[-1] == (order["version"] + 1, "awaiting_deposit", 50000, None)


async def test_a_withdrawn_order_is_told_all_the_same(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A withdrawn order stays withdrawn, and money that comes afterwards makes it paid."""
    await service.register("order-1")
    for headers in ({}, {}, {"If-Match": '"1"'}):
        status, order = await _withdraw(service, **headers)
        assert (status, order["closed"], order["state"], order["version"]) == (200, "withdrawn", "pending", 2)
    status, problem = await _amend(service, 2, amount=1)
    assert (status, _kind(problem)) == (409, "order-closed")
    await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid", closed="withdrawn", version=3)
    assert await _events(pool) == [
        (1, "pending", 64900, None),
        (2, "pending", 64900, "withdrawn"),
        (3, "paid", 64900, "withdrawn"),
    ]


async def test_a_withdrawal_may_be_conditional(receiver: RunningService, pool: Pool) -> None:
    """A withdrawal with a stale If-Match is refused."""
    await receiver.register("order-1")
    assert (await _withdraw(receiver, **{"If-Match": '"2"'}))[0] == 412
    assert (await stored.order(pool, "order-1"))["closed"] is None


async def test_what_is_past_its_time_expires_once(receiver: RunningService, pool: Pool) -> None:
    """Pending orders past `expires_at` are closed once each, in batches and by several workers."""
    for number in range(5):
        await receiver.register(f"order-{number}")
        await _make_overdue(pool, f"order-{number}")
    await receiver.register("open")
    names = [*(f"order-{number}" for number in range(5)), "open"]
    closed = await asyncio.gather(*(_expire(pool, *names) for _ in range(4)))
    assert sorted(name for names in closed for name in names) == names[:5]
    rows = await pool.fetch("SELECT merchant_uid, version, closed FROM order_events WHERE version > 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [(f"order-{number}", 2, "expired") for number in range(5)]
    assert (await stored.order(pool, "open"))["closed"] is None


async def test_an_expired_order_may_still_be_paid(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """An expired order that is paid by an open window becomes paid."""
    await service.register("order-1")
    await _make_overdue(pool)
    assert await _expire(pool, "order-1") == ["order-1"]
    await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid", closed="expired", version=3)
    assert await _expire(pool, "order-1") == []


async def test_only_unpaid_orders_expire(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Orders that are paid, or have an account that takes a deposit, do not expire."""
    for name in ("issued", "paid"):
        await service.register(name)
    issued = await sandbox.open("issued", 64900, pay_method="vbank")
    await sandbox.move(issued["imp_uid"], "issue")
    await sandbox.pay("paid", 64900)
    for name, state in (("issued", "awaiting_deposit"), ("paid", "paid")):
        await service.becomes(name, state=state)
        await _make_overdue(pool, name)
    assert await _expire(pool, "issued", "paid") == []


async def test_a_longer_time_keeps_an_order_open(receiver: RunningService, pool: Pool) -> None:
    """An order that was amended before its end expires at its new time."""
    await receiver.register("order-1")
    await _make_overdue(pool)
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    assert (await _amend(receiver, expires_at=later))[0] == 200
    assert await _expire(pool, "order-1") == []


async def test_a_payment_and_an_amendment_at_once_end_the_same_way(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """If a payment and an amendment come at once, the order matches its final terms, with versions in steps of one."""
    for number in range(20):
        await service.register(f"race-{number}", 64900)
    headers = bearer() | {"If-Match": '"1"'}

    async def race(number: int) -> int:
        path = f"/orders/race-{number}"
        status: int
        _, (status, _) = await asyncio.gather(
            sandbox.pay(f"race-{number}", 64900),
            service.call("PATCH", path, json={"amount": 100}, headers=headers),
        )
        return status

    statuses = await asyncio.gather(*(race(number) for number in range(20)))
    for number, status in enumerate(statuses):
        expected = {200: ("mismatched", 100)}.get(status, ("paid", 64900))
        order = await service.becomes(f"race-{number}", state=expected[0])
        assert (order["amount"], status in (200, 409, 412)) == (expected[1], True)
        versions = [version for version, _ in await stored.events(pool, f"race-{number}")]
        assert versions == list(range(1, order["version"] + 1))


async def test_an_amendment_whose_answer_was_lost(receiver: RunningService, pool: Pool) -> None:
    """An amendment that stands already is no conflict, so that a caller may repeat it with the ETag that it had."""
    await receiver.register("order-1", 64900)
    for _ in range(2):
        status, order = await _amend(receiver, 1, amount=100, name="socks")
        assert (status, order["version"], order["amount"]) == (200, 2, 100)
    assert (await _amend(receiver, 1, amount=200))[0] == 412
    assert (await _amend(receiver, 1, amount=100, name="shoes"))[0] == 412
    assert len(await _events(pool)) == 2
