"""Endpoints are told of each change: at least once, in order for each order, whatever they answer."""

import asyncio

from aiohttp import web
from standardwebhooks import Webhook

from service.db import endpoints
from service.db.pool import Pool, in_transaction
from tests.receiving import Received, receiving
from tests.running import until
from tests.service.telling import SECRET, add_endpoint, running_deliverer, state_of, write_events


async def _reaches(pool: Pool, delivered: int) -> None:
    async def has_reached() -> bool:
        return (await state_of(pool)).delivered >= delivered

    await until(has_reached)


async def test_each_change_is_told_and_signed(pool: Pool, database_url: str) -> None:
    """Each event comes once, with its id, its type and data as the feed has it, and a signature that verifies."""
    await write_events(pool, [("order-1", 1), ("order-2", 1), ("order-1", 2)])
    async with receiving() as endpoint, running_deliverer(database_url):
        await add_endpoint(pool, endpoint.url)
        await _reaches(pool, 3)
    assert [received.event_id for received in endpoint.accepted if received.order == "order-1"] == [1, 3]
    for received in endpoint.accepted:
        message = Webhook(SECRET).verify(received.body, received.headers)
        assert message["type"] == message["data"]["type"]
        assert message["timestamp"] == message["data"]["at"]
    last = endpoint.accepted[-1].data if endpoint.accepted[-1].event_id == 3 else endpoint.accepted[1].data
    assert last["merchant_uid"] in ("order-1", "order-2")
    assert (await state_of(pool)).late == 0


async def test_a_failure_holds_back_its_own_order_alone(pool: Pool, database_url: str) -> None:
    """While one order's event is refused, other orders go on; then the order's events come in their order."""
    refusing = True

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=500 if refusing and received.order == "order-1" else 200)

    await write_events(pool, [("order-1", 1), ("order-1", 2), ("order-2", 1), ("order-2", 2)])
    async with receiving(answer) as endpoint, running_deliverer(database_url):
        await add_endpoint(pool, endpoint.url)
        await _reaches(pool, 2)
        await write_events(pool, [("order-1", 3), ("order-2", 3)])
        await _reaches(pool, 3)
        assert endpoint.versions("order-2") == [1, 2, 3]
        assert endpoint.versions("order-1") == []
        assert (await state_of(pool)).late == 1
        refusing = False
        await _reaches(pool, 6)
    assert endpoint.versions("order-1") == [1, 2, 3]
    assert (await state_of(pool)).late == 0


async def test_a_slow_delivery_holds_up_no_other(pool: Pool, database_url: str) -> None:
    """A delivery that is not answered lingers while other orders' later events are sent."""
    release = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        if received.order == "order-1" and received.data["version"] == 1:
            await release.wait()
        return web.Response()

    await write_events(pool, [("order-1", 1), ("order-1", 2), ("order-2", 1)])
    async with receiving(answer) as endpoint, running_deliverer(database_url, timeout_seconds=30):
        await add_endpoint(pool, endpoint.url)
        await _reaches(pool, 1)
        await write_events(pool, [("order-2", 2), ("order-1", 3)])
        await _reaches(pool, 2)
        assert endpoint.versions("order-1") == []
        release.set()
        await _reaches(pool, 5)
    assert endpoint.versions("order-1") == [1, 2, 3]
    assert endpoint.versions("order-2") == [1, 2]
    assert len(endpoint.received) == 5


async def test_an_endpoint_that_is_down_gets_probes(pool: Pool, database_url: str) -> None:
    """An endpoint that fails throughout gets a few events at a time; once it is back it gets all, in order."""
    is_down = True

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=503 if is_down else 200)

    await write_events(pool, [(f"order-{n}", version) for version in (1, 2) for n in range(100)])
    async with receiving(answer) as endpoint, running_deliverer(database_url):
        await add_endpoint(pool, endpoint.url)

        async def is_failing() -> bool:
            return (await state_of(pool)).failures >= 60

        await until(is_failing)
        assert len(endpoint.received) < 200
        is_down = False
        await _reaches(pool, 200)
    assert all(endpoint.versions(f"order-{n}") == [1, 2] for n in range(100))
    state = await state_of(pool)
    assert (state.failures, state.failing_since, state.late) == (0, None, 0)


async def test_gone_disables(pool: Pool, database_url: str) -> None:
    """An endpoint that answers 410 gets nothing more until a person enables it, and then misses nothing."""
    is_gone = True

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=410 if is_gone else 200)

    await write_events(pool, [("order-1", 1)])
    async with receiving(answer) as endpoint, running_deliverer(database_url):
        await add_endpoint(pool, endpoint.url)

        async def is_disabled() -> bool:
            return (await state_of(pool)).disabled_at is not None

        await until(is_disabled)
        assert (await state_of(pool)).disabled_why == "it answered 410 Gone"
        assert len(endpoint.received) == 1
        is_gone = False
        await write_events(pool, [("order-1", 2)])
        await in_transaction(pool, endpoints.enable, "warehouse")
        await _reaches(pool, 2)
    assert endpoint.versions("order-1") == [1, 2]
