"""Endpoints are told of each change: at least once, in order for each order, whatever they answer."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from aiohttp import web
from standardwebhooks import Webhook

from service.db import deliveries, endpoints
from service.db.deliveries import TurnResult
from service.db.pool import Pool, in_transaction
from service.usecases.replaying import replay
from tests.receiving import Received, receiving
from tests.running import until
from tests.service.telling import SECRET, TIMES, add_endpoint, running_deliverer, state_of, write_events


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
        turn, sent = await _turn(pool), len(endpoint.received)
        await until(lambda: _has_turn(pool, turn + 5))
        assert len(endpoint.received) - sent <= 8 * (await _turn(pool) - turn + 1)
        is_down = False
        await _reaches(pool, 200)
    assert all(endpoint.versions(f"order-{n}") == [1, 2] for n in range(100))
    state = await state_of(pool)
    assert (state.failures, state.failing_since, state.late) == (0, None, 0)


async def _turn(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT turn FROM endpoints"))


async def _has_turn(pool: Pool, turn: int) -> bool:
    return await _turn(pool) >= turn


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


async def test_an_endpoint_that_fails_for_a_day_is_disabled(pool: Pool, database_url: str) -> None:
    """After a (here short) day of failures alone the endpoint is disabled; its place stays, and enabling goes on."""
    is_down = True

    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(status=500 if is_down else 200)

    await write_events(pool, [("order-1", 1)])
    times = replace(TIMES, endpoint_failing=timedelta(seconds=0.3))
    async with receiving(answer) as endpoint, running_deliverer(database_url, times):
        await add_endpoint(pool, endpoint.url)

        async def is_disabled() -> bool:
            return (await state_of(pool)).disabled_why == "every attempt failed for too long"

        await until(is_disabled)
        is_down = False
        await in_transaction(pool, endpoints.enable, "warehouse")
        await _reaches(pool, 1)
    assert endpoint.versions("order-1") == [1]


async def test_an_event_that_always_fails_is_given_up(pool: Pool, database_url: str) -> None:
    """After the schedule's last wait an event is given up and counted; the order's later events go on."""

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=400 if received.event_id == 1 else 200)

    await write_events(pool, [("order-1", 1), ("order-1", 2), ("order-2", 1)])
    times = replace(TIMES, deliveries=(timedelta(seconds=0.02),) * 3)
    async with receiving(answer) as endpoint, running_deliverer(database_url, times):
        await add_endpoint(pool, endpoint.url)
        await _reaches(pool, 2)
    assert [received.event_id for received in endpoint.received].count(1) == 4
    assert endpoint.versions("order-1") == [2]
    state = await state_of(pool)
    assert (state.given_up, state.late, state.told_to) == (1, 0, 3)


async def test_only_the_wanted_types_are_sent(pool: Pool, database_url: str) -> None:
    """An endpoint with types gets these alone, and its cursor passes the others."""
    await write_events(pool, [("order-1", 1), ("order-2", 1), ("order-1", 2)])
    async with receiving() as endpoint, running_deliverer(database_url):
        await add_endpoint(pool, endpoint.url, types=["order.failed"])

        async def has_passed() -> bool:
            return (await state_of(pool)).told_to == 3

        await until(has_passed)
    assert [received.event_id for received in endpoint.received] == [3]


async def test_a_turn_that_was_lost_writes_nothing(pool: Pool, database_url: str) -> None:
    """A worker that was frozen beyond its claim does not move the cursor over what its successor knows."""
    await write_events(pool, [("order-1", 1)])
    await add_endpoint(pool, "http://127.0.0.1:9/")
    async with pool.acquire() as db:
        [first] = await deliveries.claim(db, 1, 8, timedelta(0))
        [second] = await deliveries.claim(db, 1, 8, timedelta(seconds=20))
        assert await deliveries.claim(db, 1, 8, timedelta(seconds=20)) == []
        result = TurnResult(1, [], [], [])
        assert not await deliveries.end_turn(db, first, result, timedelta(), None)
        assert (await state_of(pool)).told_to == 0
        assert await deliveries.end_turn(db, second, result, timedelta(), None)
    assert (await state_of(pool)).told_to == 1


async def test_a_replay_during_a_delivery_wins(pool: Pool, database_url: str) -> None:
    """An order that is moved back while its delivery is under way starts from there, whatever the delivery writes."""
    release = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        if received.event_id == 2 and not release.is_set():
            await release.wait()
        return web.Response()

    await write_events(pool, [("order-1", 1), ("order-1", 2)])
    async with receiving(answer) as endpoint, running_deliverer(database_url, timeout_seconds=0.6):
        await add_endpoint(pool, endpoint.url)

        async def lingers() -> bool:
            return (await state_of(pool)).late == 1

        await until(lingers)
        assert await replay(pool, "warehouse", 1, 1) == 1
        release.set()
        await pool.execute("UPDATE late_orders SET claimed_until = NULL")  # as when the claim has run out
        await _reaches(pool, 3)
        await until(lambda: _is_caught_up(pool))
    assert endpoint.versions("order-1")[-2:] == [1, 2]


async def _is_caught_up(pool: Pool) -> bool:
    return (await state_of(pool)).late == 0


async def test_attempts_are_logged_and_pruned(pool: Pool, database_url: str) -> None:
    """Each attempt is logged with its status, time and text; old ones are pruned."""

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=200 if received.order == "order-1" else 404, text="no such\norder" * 100)

    await write_events(pool, [("order-1", 1), ("order-2", 1)])
    async with receiving(answer) as endpoint, running_deliverer(database_url, replace(TIMES, deliveries=())):
        await add_endpoint(pool, endpoint.url)
        await _reaches(pool, 1)
        await until(lambda: _is_caught_up(pool))
    async with pool.acquire() as db:
        shown = {attempt.merchant_uid: attempt for attempt in await endpoints.attempts(db, "warehouse", 10)}
        assert (shown["order-1"].status, shown["order-1"].failure) == (200, None)
        assert (shown["order-2"].status, shown["order-2"].failure) == (404, ("no such order" * 100)[:500])
        assert await deliveries.prune_attempts(db, timedelta(days=1), 10) == 0
        assert await deliveries.prune_attempts(db, timedelta(0), 10) == 2
