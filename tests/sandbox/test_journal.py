"""The journal remembers what happened to the orders that somebody watches, and no more than that."""

import asyncio

from sandbox import journal
from sandbox.journal import Journal
from tests.sandbox.conftest import Clock


def test_only_watched_orders_are_recorded(clock: Clock) -> None:
    """An order that nobody watches leaves nothing; events are numbered over all orders."""
    record = Journal(clock)
    record.record("order-1", "a", {})
    record.watch("order-1")
    record.watch("order-2")
    record.record("order-1", "b", {"x": 1})
    record.record("order-2", "c", {})
    record.record(None, "d", {})
    record.record("order-1", "e", {}, at=5.0)
    assert [(e.number, e.kind, e.at) for e in record.events("order-1")] == [(1, "b", clock.now), (3, "e", 5.0)]
    assert [e.kind for e in record.events("order-1", after=1)] == ["e"]


def test_orders_and_events_are_bounded(clock: Clock) -> None:
    """The order watched first is forgotten first, and an order's oldest event too."""
    record = Journal(clock)
    for number in range(journal.MOST_ORDERS + 1):
        record.watch(f"order-{number}")
    assert not record.watches("order-0")
    assert record.watches("order-1")
    for number in range(journal.MOST_EVENTS + 1):
        record.record("order-1", "x", {"number": number})
    assert record.events("order-1")[0].evidence == {"number": 1}


async def test_a_reader_waits_for_the_next_event_or_the_end(clock: Clock) -> None:
    """Waiting ends with an event behind the last one read, and with nothing when all is forgotten."""
    record = Journal(clock)
    record.watch("order-1")
    record.record("order-1", "a", {})
    assert [e.kind for e in await record.wait("order-1", 0)] == ["a"]
    waiting = asyncio.create_task(record.wait("order-1", 1))
    await asyncio.sleep(0)
    record.record("order-1", "b", {})
    assert [e.kind for e in await waiting] == ["b"]
    waiting = asyncio.create_task(record.wait("order-1", 2))
    await asyncio.sleep(0)
    record.clear()
    assert await waiting == []
