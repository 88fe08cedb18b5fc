"""The client waits for changes and follows them, on the running service."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from portone_orders_client import Event, FileCursor, OrdersClient

from service.settings import Settings
from tests.ports import own_port
from tests.running import SERVICE_KEY, running_receiver


@contextlib.asynccontextmanager
async def serving(settings: Settings, port: int = 0) -> AsyncIterator[OrdersClient]:
    """A receiver, and a client of it."""
    async with running_receiver(settings, port) as receiver, OrdersClient(receiver.url, SERVICE_KEY) as orders:
        yield orders


async def test_a_wait_ends_at_the_change(settings: Settings) -> None:
    """A waiting read returns the order as soon as it has changed, and None when it did not in time."""
    async with serving(settings) as orders:
        order = await orders.register("order-1", 100)
        assert await orders.wait(order, seconds=0) is None
        waiting = asyncio.create_task(orders.wait(order, seconds=60))
        amended = await orders.amend(order, amount=200)
        async with asyncio.timeout(30):
            assert await waiting == amended


async def test_a_wait_lasts_as_long_as_it_is_asked_to(settings: Settings) -> None:
    """Without a change a wait returns None after its seconds, whole or not, and never before."""
    async with serving(settings) as orders:
        order = await orders.register("order-1", 100)

        async def lasts(seconds: float) -> float:
            began = time.monotonic()
            assert await orders.wait(order, seconds) is None
            return time.monotonic() - began

        waits = (0, 0.3, 1, 1.5, 2)
        took = await asyncio.gather(*map(lasts, waits))
        assert all(took[i] >= waits[i] - 0.01 for i in range(len(waits))), took


async def test_events_come_page_by_page_and_filtered(settings: Settings) -> None:
    """Pages join without a gap, and a filter leaves out other orders."""
    async with serving(settings) as orders:
        for number in range(5):
            await orders.register(f"order-{number}", 100)
        first = await orders.events(limit=3, wait=30)
        rest = await orders.events(first.next)
        numbers = [event.merchant_uid for event in (*first.events, *rest.events)]
        assert numbers == [f"order-{number}" for number in range(5)]
        only = await orders.events(merchant_uid=["order-3"])
        assert [(event.merchant_uid, event.version, event.state) for event in only.events] == [
            ("order-3", 1, "pending")
        ]
        assert (await orders.events("now")).events == ()


async def test_a_follower_outlives_the_service(settings: Settings, tmp_path: Path) -> None:
    """While the service restarts, a follower tries again, and misses nothing."""
    port, seen = own_port(), asyncio.Queue[Event]()

    async def follow(orders: OrdersClient) -> None:
        async for event in orders.follow(FileCursor(tmp_path / "cursor")):
            await seen.put(event)

    async with OrdersClient(f"http://127.0.0.1:{port}", SERVICE_KEY) as follower, asyncio.timeout(60):
        following = asyncio.create_task(follow(follower))
        for name in ("order-1", "order-2"):
            async with serving(settings, port) as orders:
                await orders.register(name, 100)
                assert (await seen.get()).merchant_uid == name
        following.cancel()
        await asyncio.wait([following])
    assert seen.empty()
