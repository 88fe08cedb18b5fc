"""Registrations share statements, and each keeps its own result (docs/design.md §3)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from service.db import orders
from service.db.order_views import Registered
from service.db.orders import NewOrder
from service.db.pool import Pool, in_transaction
from service.domain.order import Order
from service.domain.payment import Store
from service.domain.timetable import Timetable
from service.errors import OtherTerms, PostgresUnavailable
from service.usecases.coalescing import BatchBounds
from service.usecases.registration import Registration, settle_first
from service.usecases.verification import Verifier
from tests.running import until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

BATCH = 40


def _order(merchant_uid: str, amount: int = 64900, name: str | None = None) -> NewOrder:
    return NewOrder(Order(merchant_uid, amount, "KRW", Store("default")), name)


@pytest.fixture
async def registration(pool: Pool) -> AsyncIterator[Registration]:
    opened = Registration(pool, Timetable(), BatchBounds(BATCH))
    yield opened
    await opened.close()


async def _together(registration: Registration, orders: Sequence[NewOrder]) -> list[Registered | BaseException]:
    """Register one order, and meanwhile all these in one batch."""
    first = asyncio.create_task(registration.register(_order("first")))
    await asyncio.sleep(0)
    results = await asyncio.gather(*(registration.register(order) for order in orders), return_exceptions=True)
    await first
    assert registration.batches.batches == 2
    return results


def _new(results: Sequence[Registered | BaseException]) -> list[bool]:
    return [result.new for result in results if isinstance(result, Registered)]


async def test_a_batch_is_one_statement_and_each_order_one_event(registration: Registration, pool: Pool) -> None:
    """Forty orders at once have forty rows, each with its first event and its own terms."""
    results = await _together(registration, [_order(f"order-{n}", 1000 + n, f"Order {n}") for n in range(BATCH)])
    assert _new(results) == [True] * BATCH
    for number, result in enumerate(results):
        assert isinstance(result, Registered)
        assert (result.order.terms.amount, result.order.name) == (1000 + number, f"Order {number}")
        assert await stored.events(pool, f"order-{number}") == [(1, "pending")]


async def test_the_same_order_twice_in_a_batch(registration: Registration, pool: Pool) -> None:
    """The first is new, a repetition finds it, and one with other terms is refused alone."""
    results = await _together(registration, [_order("order-1"), _order("order-1"), _order("order-1", 1), _order("b")])
    assert _new(results) == [True, False, True]
    assert isinstance(results[2], OtherTerms)
    assert await stored.events(pool, "order-1") == [(1, "pending")]


async def test_one_that_the_database_refuses_is_refused_alone(registration: Registration, pool: Pool) -> None:
    """A text without UTF-8 fails its own registration, and no other in its batch."""
    first = asyncio.create_task(registration.register(_order("first")))
    await asyncio.sleep(0)
    bad = asyncio.create_task(registration.register(_order("bad", name="\ud83d")))
    good = asyncio.create_task(registration.register(_order("good")))
    with pytest.raises(asyncpg.DataError):
        await bad
    assert [(await first).new, (await good).new] == [True, True]
    assert await stored.count(pool, "orders") == 2


async def test_one_with_a_stored_payment_is_settled_beside_new_ones(
    registration: Registration, sandbox: RunningSandbox, verifier: Verifier, pool: Pool
) -> None:
    """Money that came before its order's registration pays it at once; its neighbours are pending."""
    paid = str((await sandbox.pay("early", 64900, webhook=False))["imp_uid"])
    await stored.look(pool, verifier, paid, "early")
    results = await _together(registration, [_order("early"), _order("order-1")])
    assert _new(results) == [True, True]
    assert await stored.events(pool, "early") == [(1, "paid")]
    assert await stored.events(pool, "order-1") == [(1, "pending")]


async def test_an_order_that_is_registered_while_it_is_settled_waits(
    registration: Registration, sandbox: RunningSandbox, verifier: Verifier, pool: Pool
) -> None:
    """An order of which something is stored is read only when nobody else is deciding about it."""
    paid = str((await sandbox.pay("early", 64900, webhook=False))["imp_uid"])
    await stored.look(pool, verifier, paid, "early")
    async with pool.acquire() as other, other.transaction():
        await orders.lock(other, ["early"])
        registering = asyncio.create_task(
            in_transaction(pool, settle_first, _order("early"), Timetable(), prepare=False)
        )
        await until(lambda: stored.waits_for_a_lock(pool))
        assert not registering.done()
    assert (await registering).new


async def test_the_same_orders_in_opposite_order_never_deadlock(pool: Pool) -> None:
    """Two batches of the same orders, each of which waits in its middle, end; each order is new once."""
    both = [Registration(pool, Timetable(), BatchBounds(BATCH)) for _ in range(2)]
    given = [_order(f"order-{n}") for n in range(BATCH)]

    async def both_wait() -> bool:
        return await stored.waiting_for_locks(pool) == 2

    async with pool.acquire() as other, other.transaction():
        await orders.lock(other, [f"order-{BATCH // 2}"])
        calls = [
            asyncio.create_task(registration.register(order))
            for registration, its in zip(both, (given, given[::-1]), strict=True)
            for order in its
        ]
        await until(both_wait)
    new = Counter(result.order.terms.merchant_uid for result in await asyncio.gather(*calls) if result.new)
    assert new == {order.terms.merchant_uid: 1 for order in given}
    assert await stored.deadlocks(pool) == 0


async def test_a_connection_that_is_lost_in_the_middle(registration: Registration, pool: Pool) -> None:
    """Its callers are told to come again, nothing is half written, and the next call registers the order."""
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        calls = [asyncio.create_task(registration.register(_order(f"order-{n}"))) for n in range(3)]

        async def is_cut() -> bool:
            cut: int = await pool.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            return cut > 0

        await until(is_cut)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(result, PostgresUnavailable) for result in results)
    for number in range(3):
        assert (await registration.register(_order(f"order-{number}"))).order.version == 1
        assert await stored.events(pool, f"order-{number}") == [(1, "pending")]
