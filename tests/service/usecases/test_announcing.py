"""Each version of an order is announced by whoever writes it, and nobody fails because Redis is away."""

from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest

from service.db.orders import NewOrder
from service.db.pool import Pool
from service.domain.order import Order
from service.domain.timetable import Timetable
from service.redis.queue import LOOKED_CHANNEL, Queue, connect, messages
from service.settings import Settings
from service.usecases.announcing import Announcer, announce
from service.usecases.coalescing import BatchBounds
from service.usecases.registration import Registration
from tests.ports import own_port
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from workers.parts import make_parts

Heard = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    opened = Queue(connect(redis_url))
    yield opened
    await opened.close()


@pytest.fixture
async def heard(redis_url: str) -> AsyncIterator[Heard]:
    """Return the orders of the next message."""
    redis = connect(redis_url)
    listening = messages(redis, LOOKED_CHANNEL)
    assert await anext(listening) is None  # subscribed

    async def next_orders() -> list[str]:
        message = await anext(listening)
        assert message is not None
        orders: list[str] = orjson.loads(message)[1]
        return orders

    yield next_orders
    await listening.aclose()
    await redis.aclose(close_connection_pool=True)


async def test_changes_of_one_moment_share_a_message(queue: Queue, heard: Heard) -> None:
    """Orders that change together are announced together, each once."""
    announcer = Announcer(queue)
    for name in ("order-1", "order-2", "order-1"):
        announcer.changed(name)
    announcer.changed()
    assert await heard() == ["order-1", "order-2"]
    announcer.changed("order-3")
    assert await heard() == ["order-3"]
    await announcer.close()


async def test_a_registration_is_announced(pool: Pool, queue: Queue, heard: Heard) -> None:
    """A new order is announced, also where something was stored of it before; the same again is not."""
    announcer = Announcer(queue)
    registration = Registration(pool, Timetable(), BatchBounds(1), announcer=announcer)
    await pool.execute(
        "INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,"
        " cancellations, live, details, written_ticket)"
        " VALUES ('imp_1', 'order-2', 'default', '', 'failed', 1, 'KRW', 0, 0, true, '{}', 1)"
    )
    for name in ("order-1", "order-2"):
        order = NewOrder(Order(name, 100, "KRW", stored.DEFAULT))
        assert (await registration.register(order)).new
        assert await heard() == [name]
        assert not (await registration.register(order)).new
    announcer.changed("the end")
    assert await heard() == ["the end"]
    await announcer.close()
    await registration.close()


async def test_an_expiry_is_announced(settings: Settings, pool: Pool, heard: Heard) -> None:
    """An order that expires is announced by the worker that closes it."""
    await stored.register_order(pool, "order-1")
    await pool.execute("UPDATE orders SET expires_at = now() - interval '1 second'")
    await pool.execute("UPDATE order_checks SET next_check_at = now()")
    async with make_parts(settings) as parts:
        await parts.reconciler.ask_about_silent_orders()
    assert await heard() == ["order-1"]


async def test_a_look_for_a_refund_is_announced(
    settings: Settings, pool: Pool, sandbox: RunningSandbox, heard: Heard
) -> None:
    """A look that no notice led to announces what it has changed."""
    await stored.register_order(pool, "order-1")
    await sandbox.pay("order-1", 64900, imp_uid="imp_1")
    await pool.execute("DELETE FROM notices")
    notice = "INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, due_at)"
    notice_id = await pool.fetchval(
        f"{notice} VALUES (gen_random_uuid(), 'operator', 'imp_1', 'order-1', true, now()) RETURNING id"
    )
    async with make_parts(settings) as parts:
        await parts.verifier.verify([notice_id])
    assert await heard() == ["order-1"]


async def test_without_redis_nothing_fails() -> None:
    """Where Redis is away an announcement is dropped, because those who wait find the change all the same."""
    queue = Queue(connect(f"redis://127.0.0.1:{own_port()}/0"))
    await announce(queue, ["order-1"])
    announcer = Announcer(queue)
    announcer.changed("order-1")
    await announcer.close()
    await queue.close()
