"""A search for orders reads a bounded number of rows, and goes on where it stopped."""

from datetime import UTC, datetime, timedelta

import pytest

from service.db import order_search, today
from service.db.order_search import OrderSearch
from service.db.pool import Pool, in_snapshot
from service.domain.order import EXPIRES
from tests.service import stored


async def test_an_order_stands_at_its_newest_change_alone(pool: Pool) -> None:
    """Pages follow each other without a gap, the newest change first, and each order comes once."""
    for number in range(5):
        await stored.register_order(pool, f"order-{number}", 100 + number)
    await pool.execute(
        "INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,"
        " problems, cause) VALUES ('order-0', 2, 'paid', 100, 'KRW', 100, 0, '[]', 'look')"
    )
    await pool.execute("UPDATE orders SET version = 2 WHERE merchant_uid = 'order-0'")
    found, before = [], None
    for _ in range(3):
        page = await in_snapshot(pool, order_search.newest, OrderSearch(), before, 2)
        found += [order.merchant_uid for order in page.orders]
        before = page.next
    assert (found, before) == (["order-0", "order-4", "order-3", "order-2", "order-1"], None)


async def test_a_page_reads_a_bounded_number_of_events(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that finds nothing in its part of the feed says where to go on, and finds the order there."""
    monkeypatch.setattr(order_search, "EVENTS_MAX", 3)
    for number in range(7):
        await stored.register_order(pool, f"order-{number}", 100 + number)
    search, before, pages = OrderSearch(amount=100, currency="KRW"), None, []
    for _ in range(3):
        page = await in_snapshot(pool, order_search.newest, search, before, 50)
        pages.append([order.merchant_uid for order in page.orders])
        before = page.next
        assert (page.back_to is None) == (before is None)
    assert pages == [[], [], ["order-0"]]
    assert before is None


async def test_what_became_paid_is_found_whatever_came_of_it(pool: Pool) -> None:
    """Each event that made an order paid is found once, with the order as it is now, and no other event."""
    await stored.register_order(pool, "order-1", 100)
    await pool.execute(
        "INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,"
        " problems, cause) SELECT 'order-1', version, state, 100, 'KRW', 100, 0, '[]', 'look'"
        " FROM unnest(ARRAY['paid', 'paid', 'cancelled']) WITH ORDINALITY AS e (state, after), LATERAL"
        " (SELECT after + 1 AS version) v"
    )
    await pool.execute("UPDATE orders SET version = 4, state = 'cancelled'")
    search = OrderSearch(became="paid", since=datetime.now(UTC) - timedelta(hours=1))
    page = await in_snapshot(pool, order_search.newest, search, None, 50)
    assert [(order.merchant_uid, order.state) for order in page.orders] == [("order-1", "cancelled")]
    [hour] = await in_snapshot(pool, today.spans, [datetime.now(UTC) - timedelta(hours=1)])
    assert hour.paid == len(page.orders)  # the number on the first page, and the list that it leads to


async def test_orders_that_wait_are_not_closed(pool: Pool) -> None:
    """The list of orders that wait for money has as many as the first page counts."""
    for number in range(3):
        await stored.register_order(pool, f"order-{number}")
    await pool.execute("UPDATE orders SET closed = 'expired' WHERE merchant_uid = 'order-1'")
    await pool.execute("UPDATE order_events SET closed = 'expired' WHERE merchant_uid = 'order-1'")
    search = OrderSearch(states=sorted(EXPIRES), open_only=True)
    page = await in_snapshot(pool, order_search.newest, search, None, 50)
    assert [order.merchant_uid for order in page.orders] == ["order-2", "order-0"]
    assert (await in_snapshot(pool, today.waiting_orders)).count == len(page.orders)


async def test_days_and_states_narrow(pool: Pool) -> None:
    """Only what changed within the days, and stands in one of the states, is found."""
    await stored.register_order(pool, "order-1")
    now = datetime.now(UTC)
    for search, count in (
        (OrderSearch(states=["pending"], since=now - timedelta(hours=1), until=now + timedelta(hours=1)), 1),
        (OrderSearch(states=["paid"]), 0),
        (OrderSearch(since=now + timedelta(hours=1)), 0),
        (OrderSearch(until=now - timedelta(hours=1)), 0),
        (OrderSearch(amount=64900, currency="USD"), 0),
    ):
        assert len((await in_snapshot(pool, order_search.newest, search, None, 50)).orders) == count, search
