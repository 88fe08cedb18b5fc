"""Lists of orders over HTTP: filters, pages, and what a walk of all pages is promised."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from service.db import order_list, order_views
from service.db.pool import Pool
from service.settings import Settings
from service.usecases import listing
from tests.running import RunningService, bearer, running_receiver
from tests.sandbox_client import RunningSandbox
from tests.service import stored

Params = dict[str, Any] | list[tuple[str, str]]


async def _page(service: RunningService, params: Params) -> tuple[list[str], str | None]:
    status, body = await service.call("GET", "/orders", params=params, headers=bearer())
    assert status == 200, body
    return [order["merchant_uid"] for order in body["orders"]], body["next"]


async def _walk(service: RunningService, **params: Any) -> list[str]:
    """Follow `next` to the end; return the orders' numbers."""
    found, cursor = await _page(service, params)
    while cursor is not None:
        more, cursor = await _page(service, params | {"cursor": cursor})
        found += more
    return found


async def _five(pool: Pool) -> None:
    for number in range(1, 6):
        await stored.register_order(pool, f"order-{number}")
    await pool.execute("UPDATE orders SET closed = 'withdrawn' WHERE merchant_uid = 'order-2'")
    await pool.execute("UPDATE orders SET account = 'shop-b', tier = 'abc' WHERE merchant_uid = 'order-3'")
    await pool.execute(
        "UPDATE orders SET state = 'mismatched', problems = $1 WHERE merchant_uid = 'order-4'",
        [{"kind": "wrong_amount", "imp_uid": "imp_1"}],
    )
    await pool.execute("UPDATE orders SET state = 'failed' WHERE merchant_uid = 'order-5'")


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ([], "12345"),
        ([("state", "pending")], "123"),
        ([("state", "failed"), ("state", "mismatched")], "45"),
        ([("problem", "wrong_amount")], "4"),
        ([("problem", "any")], "4"),
        ([("problem", "wrong_store")], ""),
        ([("problem", "wrong_store"), ("problem", "any")], "4"),
        ([("closed", "withdrawn")], "2"),
        ([("closed", "none")], "1345"),
        ([("closed", "none"), ("closed", "withdrawn")], "12345"),
        ([("account", "shop-b")], "3"),
        ([("account", "default")], "1245"),
        ([("tier", "abc")], "3"),
        ([("tier", "")], "1245"),
        ([("state", "pending"), ("closed", "none"), ("account", "default")], "1"),
        ([("merchant_uid", "order-5"), ("merchant_uid", "order-1"), ("merchant_uid", "order-9")], "15"),
        ([("merchant_uid", "order-5"), ("merchant_uid", "order-1"), ("state", "failed")], "5"),
        ([("merchant_uid", "order-4"), ("problem", "any")], "4"),
        ([("updated_since", "2020-01-01T00:00:00+00:00"), ("state", "pending")], "123"),
        ([("updated_since", "2020-01-01T00:00:00+00:00"), ("problem", "any")], "4"),
        ([("updated_since", "2090-01-01T00:00:00Z")], ""),
    ],
)
@pytest.mark.parametrize("limit", [2, 100])
async def test_filters(
    receiver: RunningService, pool: Pool, params: list[tuple[str, str]], numbers: str, limit: int
) -> None:
    """Each filter narrows a list, filters together narrow it further, and pages of any size show the same orders."""
    await _five(pool)
    found, cursor = await _page(receiver, [*params, ("limit", str(limit))])
    while cursor is not None:
        more, cursor = await _page(receiver, [*params, ("limit", str(limit)), ("cursor", cursor)])
        found += more
    assert found == [f"order-{number}" for number in numbers]


async def test_an_order_in_a_list_is_the_order(service: RunningService, sandbox: RunningSandbox) -> None:
    """An order stands in a list exactly as it is read by itself, with its payment."""
    await service.register("주문/1", metadata={"a": 1})
    await sandbox.pay("주문/1", 64900)
    order = await service.becomes("주문/1", state="paid")
    _, body = await service.call("GET", "/orders", params={"state": "paid"}, headers=bearer())
    assert body["orders"] == [order]
    assert order["payment"]["status"] == "paid"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=payed", "state"),
        ("state=", "state"),
        ("problem=none", "problem"),
        ("closed=no", "closed"),
        ("account=A", "account"),
        ("account=a&account=b", "account"),
        ("tier=abcd", "tier"),
        ("updated_since=yesterday", "updated_since"),
        ("updated_since=2026-11-01T00:00:00", "updated_since"),
        ("updated_since=0001-01-01T00:00:00%2B14:00", "updated_since"),
        ("updated_since=9999-12-31T23:59:59-14:00", "updated_since"),
        ("updated_since=99999999999999999999", "updated_since"),
        ("merchant_uid=", "merchant_uid"),
        ("merchant_uid=a%00b", "merchant_uid"),
        ("&".join(f"merchant_uid={number}" for number in range(501)), "merchant_uid"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("stat=paid", "stat"),
        ("cursor=" + "a" * 2049, "cursor"),
    ],
)
async def test_a_wrong_parameter(receiver: RunningService, query: str, field: str) -> None:
    """A parameter that is wrong or not known is refused in a sentence that names it, and repeats nothing of it."""
    status, body = await receiver.call("GET", f"/orders?{query}", headers=bearer())
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:invalid-parameters")
    assert body["detail"].startswith(f"Correct these parameters: {field}")
    assert len(body["detail"]) < 400


@pytest.mark.parametrize(
    "cursor",
    ["", "a", "!!!!", "é", "bnVsbA", "W10", "eyJhIjoxLCJiIjoyfQ", "WyJhIiwiYiJd", "WzEsMl0", "a" * 2048],
)
async def test_an_invented_cursor(receiver: RunningService, cursor: str) -> None:
    """A cursor that this service did not give is refused."""
    status, body = await receiver.call("GET", "/orders", params={"cursor": cursor}, headers=bearer())
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:malformed-cursor")


async def test_a_cursor_of_another_list(receiver: RunningService, pool: Pool) -> None:
    """A cursor goes on only beside the filters that it was given for; the page's size may change."""
    await _five(pool)
    _, cursor = await _page(receiver, {"limit": 1, "state": "pending"})
    assert (await _page(receiver, {"limit": 2, "state": "pending", "cursor": cursor}))[0] == ["order-2", "order-3"]
    for filters in ({}, {"state": "paid"}, {"state": "pending", "updated_since": "2026-01-01T00:00:00Z"}):
        status, body = await receiver.call("GET", "/orders", params={**filters, "cursor": cursor}, headers=bearer())
        assert (status, body["type"]) == (400, "urn:portone-orders:problem:malformed-cursor")


async def test_a_plus_that_was_not_encoded(receiver: RunningService, pool: Pool) -> None:
    """A time whose `+` came as it is, which is a space in an address, is understood."""
    await _five(pool)
    status, body = await receiver.call("GET", "/orders?updated_since=2026-01-01T00:00:00+09:00", headers=bearer())
    assert (status, len(body["orders"])) == (200, 5)


async def test_five_hundred_numbers(receiver: RunningService, pool: Pool) -> None:
    """Up to 500 orders are read at once by their numbers, on one page."""
    for number in range(3):
        await stored.register_order(pool, f"order-{number:03}-of-a-guide-s-length-0123456789")
    named = [("merchant_uid", f"order-{number:03}-of-a-guide-s-length-0123456789") for number in range(500)]
    found, cursor = await _page(receiver, named)
    assert (len(found), cursor) == (3, None)


async def test_a_page_reads_a_bounded_number_of_rows(
    receiver: RunningService, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk whose filter leaves few orders has short and empty pages, and still finds each of them."""
    monkeypatch.setattr(order_list, "ROWS_MAX", 2)
    await _five(pool)
    pages = [await _page(receiver, {"state": "failed"})]
    while pages[-1][1] is not None:
        pages.append(await _page(receiver, {"state": "failed", "cursor": pages[-1][1]}))
    assert [found for found, _ in pages] == [[], [], ["order-5"]]
    since = {"state": "failed", "updated_since": "2020-01-01T00:00:00Z"}
    assert await _walk(receiver, **since) == ["order-5"]
    assert await _walk(receiver, problem="wrong_amount") == ["order-4"]


async def test_updated_since(receiver: RunningService, pool: Pool) -> None:
    """Orders come by their last change, each once, from the given time on, however old the events are."""
    await _five(pool)
    now = datetime.now(UTC)
    for number in range(1, 6):
        at = now - timedelta(hours=10 - number)
        await pool.execute("UPDATE orders SET updated_at = $2 WHERE merchant_uid = $1", f"order-{number}", at)
        await pool.execute("UPDATE order_events SET at = $2 WHERE merchant_uid = $1", f"order-{number}", at)
    headers = bearer() | {"If-Match": "*"}
    assert (await receiver.call("PATCH", "/orders/order-3", json={"amount": 1}, headers=headers))[0] == 200
    for hours, numbers in ((12, "12453"), (8.5, "2453"), (6.5, "453"), (1, "3")):
        since = (now - timedelta(hours=hours)).isoformat()
        for limit in (1, 2, 100):
            found = await _walk(receiver, updated_since=since, limit=limit)
            assert found == [f"order-{number}" for number in numbers]


async def test_a_walk_while_orders_change(receiver: RunningService, pool: Pool) -> None:
    """A walk misses no order that it was to meet, whatever changes between its pages, and by number repeats none."""
    for number in range(30):
        await stored.register_order(pool, f"order-{number:02}")
    since = {"updated_since": "2020-01-01T00:00:00Z"}
    by_number, by_change = await _page(receiver, {"limit": 4}), await _page(receiver, {"limit": 4} | since)
    numbers, changes = list(by_number[0]), list(by_change[0])
    turn = 0
    while by_number[1] or by_change[1]:
        turn += 1
        for number in (turn % 30, (turn * 7) % 30):
            headers = bearer() | {"If-Match": "*"}
            body = {"amount": 1000 + turn}
            status, _ = await receiver.call("PATCH", f"/orders/order-{number:02}", json=body, headers=headers)
            assert status == 200
        await stored.register_order(pool, f"order-{29 - turn:02}-new")
        if by_number[1]:
            by_number = await _page(receiver, {"limit": 4, "cursor": by_number[1]})
            numbers += by_number[0]
        if by_change[1]:
            by_change = await _page(receiver, {"limit": 4, "cursor": by_change[1]} | since)
            changes += by_change[0]
    old = [f"order-{number:02}" for number in range(30)]
    assert [number for number in numbers if not number.endswith("new")] == old
    assert set(old) <= set(changes)


async def _bump(db: Any, merchant_uid: str) -> None:
    """Make the order's next version, without what led to it."""
    await db.execute(
        """
        WITH moved AS (
            UPDATE orders SET version = version + 1, updated_at = now(), state = 'failed' WHERE merchant_uid = $1
            RETURNING *
        )
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        SELECT merchant_uid, version, state, amount, currency, 0, 0, '[]', 'look' FROM moved
        """,
        merchant_uid,
    )


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_change_that_is_committed_late(receiver: RunningService, pool: Pool, limit: int) -> None:
    """An order whose change is not committed when the walk passes its event is met at the one before, or later."""
    since = {"updated_since": "2020-01-01T00:00:00Z", "limit": limit}
    await stored.register_order(pool, "order-1")
    async with pool.acquire() as db:
        late = db.transaction()
        await late.start()
        await _bump(db, "order-1")
        await stored.register_order(pool, "order-2")
        found, cursor = await _page(receiver, since)
        await late.commit()
    while cursor is not None:
        more, cursor = await _page(receiver, since | {"cursor": cursor})
        found += more
    assert set(found) == {"order-1", "order-2"}


async def test_a_transaction_that_lasts(receiver: RunningService, pool: Pool) -> None:
    """An event of a transaction that began early is found by its time, though the events before it are younger."""
    for number in range(1, 6):
        await stored.register_order(pool, f"order-{number}")
    now = datetime.now(UTC)
    ages = {1: 100, 2: 70, 3: 95, 4: 65, 5: 60}  # the third, which halving the ids meets first, is the late one
    for number, seconds in ages.items():
        for table, column in (("orders", "updated_at"), ("order_events", "at")):
            await pool.execute(
                f"UPDATE {table} SET {column} = $2 WHERE merchant_uid = $1",  # noqa: S608 - both are this test's
                f"order-{number}",
                now - timedelta(seconds=seconds),
            )
    for seconds in range(55, 110):
        found = await _walk(receiver, updated_since=(now - timedelta(seconds=seconds)).isoformat())
        assert found == [f"order-{number}" for number, age in ages.items() if age <= seconds]


async def test_a_page_is_one_moment(receiver: RunningService, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that changes while its page is read stands on it as it fitted the filters."""
    await stored.register_order(pool, "order-1")
    read = order_views.read

    async def late(db: Any, merchant_uids: Any) -> Any:
        await _bump(pool, "order-1")
        return await read(db, merchant_uids)

    with monkeypatch.context() as patch:
        patch.setattr(order_views, "read", late)
        _, body = await receiver.call("GET", "/orders", params={"state": "pending"}, headers=bearer())
    assert [(order["state"], order["version"]) for order in body["orders"]] == [("pending", 1)]
    assert (await _page(receiver, {"state": "pending"}))[0] == []


async def test_a_heavy_list_keeps_no_read_waiting(
    settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a list is read, single reads and histories are answered; lists beyond the bound are answered 503."""
    began, ends = asyncio.Event(), asyncio.Event()
    whole = listing._read_page

    async def slow(db: Any, query: Any) -> Any:
        began.set()
        await ends.wait()
        return await whole(db, query)

    monkeypatch.setattr(listing, "_read_page", slow)
    await stored.register_order(pool, "order-1")
    async with running_receiver(settings.model_copy(update={"list_waiting": 1})) as receiver:
        first = asyncio.create_task(_page(receiver, {}))
        await began.wait()
        assert (await receiver.read("order-1"))["version"] == 1
        assert (await receiver.call("GET", "/orders/order-1/history", headers=bearer()))[0] == 200
        two = [asyncio.create_task(receiver.call("GET", "/orders", headers=bearer())) for _ in range(2)]
        refused = await next(asyncio.as_completed(two))  # one of the two waits, and no more may
        ends.set()
        assert await first == (["order-1"], None)
        assert sorted(status for status, _ in await asyncio.gather(*two)) == [200, 503]
        assert (refused[0], refused[1]["type"]) == (503, "urn:portone-orders:problem:overloaded")


async def test_without_a_key(receiver: RunningService) -> None:
    """Lists and histories need a service key."""
    for path in ("/orders", "/orders?limit=0", "/orders/order-1/history"):
        assert (await receiver.call("GET", path))[0] == 401


async def test_postgres_away(settings: Settings) -> None:
    """Without Postgres a list is answered 503."""
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://127.0.0.1:1/none")})
    async with running_receiver(away) as receiver:
        status, body = await receiver.call("GET", "/orders", headers=bearer())
    assert (status, body["type"]) == (503, "urn:portone-orders:problem:postgres-away")
