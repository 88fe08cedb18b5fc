"""A read that waits loses no change, whenever it comes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from service.db.order_views import OrderView
from service.db.pool import Pool
from service.errors import Overloaded
from service.metrics import Metrics
from service.redis.queue import Queue, connect
from service.settings import Settings
from service.usecases.change_waiters import ChangeWaiters
from service.usecases.coalescing import BatchBounds
from service.usecases.intake import Intake
from service.usecases.places import Places
from service.usecases.reading import Reading
from service.usecases.recording import Recorder
from tests.running import until
from tests.service import stored

_LONG_SECONDS = 60.0


@pytest.fixture
def waiters() -> ChangeWaiters:
    return ChangeWaiters(2)


@pytest.fixture
async def reading(pool: Pool, settings: Settings, waiters: ChangeWaiters) -> AsyncIterator[Reading]:
    queue = Queue(connect(settings.redis_url.get_secret_value()))
    intake = Intake(Recorder(pool, queue, settings.times), Metrics())
    opened = Reading(pool, intake, BatchBounds(1), waiters)
    yield opened
    await opened.close()
    await intake.close()
    await queue.close()


async def test_a_change_during_the_read_is_not_lost(pool: Pool, reading: Reading, waiters: ChangeWaiters) -> None:
    """A change that is announced while the order is being read has it read again, and is not waited for."""
    await stored.register_order(pool, "order-1")
    read: list[int] = []

    def is_known(view: OrderView) -> bool:
        read.append(view.order.version)
        return len(read) == 1

    call = asyncio.create_task(reading.read_unless("order-1", is_known, _LONG_SECONDS))
    while not waiters.places.waiting:  # noqa: ASYNC110 - it begins to read in the same turn of the loop
        await asyncio.sleep(0)
    waiters.wake(["order-1"])
    async with asyncio.timeout(_LONG_SECONDS / 2):
        await call
    assert len(read) == 2


async def test_only_those_who_wait_for_the_order_are_woken(
    pool: Pool, reading: Reading, waiters: ChangeWaiters
) -> None:
    """Neither another order's change wakes a call nor a version that it has read."""
    await stored.register_order(pool, "order-1")
    read: list[int] = []

    def is_known(view: OrderView) -> bool:
        read.append(view.order.version)
        return len(read) == 1

    call = asyncio.create_task(reading.read_unless("order-1", is_known, _LONG_SECONDS))

    async def has_read() -> bool:
        return len(read) == 1

    await until(has_read)
    waiters.wake(["order-2"])
    waiters.wake_older("order-1", 1)
    await reading.read("order-1")
    assert (len(read), call.done()) == (1, False)
    waiters.wake_older("order-1", 2)
    await call


def test_no_caller_takes_all_places() -> None:
    """A caller that has its share leaves the last quarter of the places to those who have less."""
    places = Places(8)
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(places.taken(b"greedy"))
        with pytest.raises(Overloaded), places.taken(b"greedy"):
            pass
        for _ in range(2):
            stack.enter_context(places.taken(b"modest"))
        with pytest.raises(Overloaded), places.taken(b"another"):
            pass
        assert (places.waiting, places.shed) == (8, 2)
    with places.taken(b"greedy"):
        assert places.waiting == 1


async def test_those_who_wait_are_bounded(waiters: ChangeWaiters) -> None:
    """Beyond the bound nobody waits, and a place that is given back can be taken again."""
    with (
        waiters.waiting_for("order-1"),
        waiters.waiting_for("order-1"),
        pytest.raises(Overloaded),
        waiters.waiting_for("order-2"),
    ):
        pass
    with waiters.waiting_for("order-2"):
        assert (waiters.places.waiting, waiters.places.shed) == (1, 1)
