"""Each race that could cost money or goods is tried three hundred times (docs/design.md §2.8)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from service.db import notices, orders
from service.db.pool import Pool, in_statement, in_transaction, open_pool
from service.domain.notice import NOT_ASKED, Notice, Source
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.settings import Settings
from service.usecases.verification import Verifier
from tests.running import until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

TRIES = 300
AT_ONCE = 10  # a run holds a connection, and a pool has ten


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"calls_per_second": 100_000.0})


@pytest.fixture
def verifier(verifier: Verifier) -> Verifier:
    """The verifier of a worker without a limit of looks at a payment, so that races happen."""
    return replace(verifier, times=replace(verifier.times, spacing=timedelta()))


@pytest.fixture
async def other_verifier(verifier: Verifier, database_url: str) -> AsyncIterator[Verifier]:
    """The verifier of another worker, with its own pool."""
    pool = await open_pool(database_url)
    yield replace(verifier, pool=pool)
    await pool.close()


async def _register_all(pool: Pool, prefix: str, count: int) -> None:
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, count))
        await asyncio.gather(*(stored.register_order(pool, f"{prefix}-{number}") for number in numbers))


async def _record(pool: Pool, prefix: str, imp_uids: Sequence[str]) -> list[UUID]:
    """Record a webhook for each payment. Returns the ids in the order of the payments."""
    webhooks = [
        Notice(new_notice_id(), Source.WEBHOOK, imp_uid, f"{prefix}-{number}", claimed_status="paid")
        for number, imp_uid in enumerate(imp_uids)
    ]
    rows: list[UUID] = []
    for start in range(0, len(webhooks), 100):
        batch = webhooks[start : start + 100]
        rows += await in_transaction(pool, notices.record, batch, Timetable().queued)
    return rows


async def _paid_in_bulk(sandbox: RunningSandbox, prefix: str, count: int) -> list[str]:
    answer = await sandbox.control("POST", "bulk", count=count, prefix=prefix, amount=64900, force=True)
    imp_uids: list[str] = answer["imp_uids"]
    return imp_uids


async def _one_event_a_version(pool: Pool) -> None:
    """Check that versions rise by one, each with one event, and that the last event is the order as stored."""
    gaps = await pool.fetch(
        """
        SELECT o.merchant_uid FROM orders o JOIN order_events e USING (merchant_uid)
        GROUP BY o.merchant_uid, o.version, o.state
        HAVING array_agg(e.version ORDER BY e.id) <> ARRAY(SELECT generate_series(1, o.version))
            OR (array_agg(e.state ORDER BY e.id))[o.version] <> o.state
        """
    )
    assert gaps == []


_WINDOWS = """
    INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
                          cancellations, live, details, written_ticket)
    SELECT 'window-' || merchant_uid, merchant_uid, 'default', '', 'ready', amount, 'KRW', 0, 0, true, '{}', 0
    FROM orders
"""


@pytest.mark.parametrize("before", ["nothing", "a window that was left open"])
async def test_two_payments_of_one_order(
    sandbox: RunningSandbox, pool: Pool, verifier: Verifier, other_verifier: Verifier, before: str
) -> None:
    """When two workers settle two payments of an order, one pays it and the other is always seen as a duplicate."""
    await _register_all(pool, "order", TRIES)
    if before != "nothing":  # a stored payment is compared under the locks
        await pool.execute(_WINDOWS)
    first = await _record(pool, "order", await _paid_in_bulk(sandbox, "order", TRIES))
    second = await _record(pool, "order", await _paid_in_bulk(sandbox, "order", TRIES))
    for start in range(0, TRIES, AT_ONCE):
        several = slice(start, start + AT_ONCE)
        await asyncio.gather(
            *(verifier.verify([notice]) for notice in first[several]),
            *(other_verifier.verify([notice]) for notice in second[several]),
        )
    await _sweep(pool, verifier)
    rows = await pool.fetch("SELECT state, paid_amount, imp_uid, problems FROM orders")
    assert Counter((row["state"], row["paid_amount"], len(row["problems"])) for row in rows) == {
        ("paid", 64900, 1): TRIES
    }
    for row in rows:
        [problem] = row["problems"]
        assert problem["kind"] == "duplicate_payment"
        assert problem["imp_uid"] != row["imp_uid"]
    await _one_event_a_version(pool)


async def _sweep(pool: Pool, verifier: Verifier) -> None:
    """Verify, as a sweep does, the notices whose look failed, until all have ended."""
    async with asyncio.timeout(20):
        while waiting := await pool.fetch("SELECT id, last_outcome FROM notices WHERE due_at IS NOT NULL LIMIT 100"):
            # Only a failure to ask postpones a notice. A claim that skipped one would be a fault.
            assert {row["last_outcome"] for row in waiting} <= NOT_ASKED
            await verifier.verify([row["id"] for row in waiting])
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE handled_at IS NULL") == 0


async def test_the_same_payments_in_opposite_order(
    sandbox: RunningSandbox, pool: Pool, verifier: Verifier, other_verifier: Verifier
) -> None:
    """Two batches with the same payments in opposite order both end, without a deadlock."""
    size = 4
    await _register_all(pool, "order", TRIES * size)
    paid = await _paid_in_bulk(sandbox, "order", TRIES * size)
    forth, back = await _record(pool, "order", paid), await _record(pool, "order", paid)
    deadlocks_before = await stored.deadlocks(pool)
    for start in range(0, TRIES * size, size):
        batch = slice(start, start + size)
        await asyncio.gather(verifier.verify(forth[batch]), other_verifier.verify(back[batch][::-1]))
    assert await pool.fetchval("SELECT count(*) FROM orders WHERE state = 'paid' AND version = 2") == TRIES * size
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE handled_at IS NULL") == 0
    await _one_event_a_version(pool)
    assert await stored.deadlocks(pool) == deadlocks_before


async def test_the_same_orders_from_many_payments_in_opposite_order(
    sandbox: RunningSandbox, pool: Pool, verifier: Verifier, other_verifier: Verifier
) -> None:
    """Batches with different payments of the same orders, in opposite order, both end without a deadlock."""
    size = 100
    await _register_all(pool, "order", size)
    forth, back = [await _record(pool, "order", await _paid_in_bulk(sandbox, "order", size)) for _ in range(2)]
    deadlocks_before = await stored.deadlocks(pool)
    await asyncio.gather(
        *(verifier.verify(forth[start : start + 25]) for start in range(0, size, 25)),
        *(other_verifier.verify(back[start : start + 50][::-1]) for start in range(0, size, 50)),
    )
    rows = await pool.fetch("SELECT state, problems FROM orders")
    assert Counter((row["state"], len(row["problems"])) for row in rows) == {("paid", 1): size}
    await _one_event_a_version(pool)
    assert await stored.deadlocks(pool) == deadlocks_before


async def test_an_order_registered_while_its_payment_is_settled(
    sandbox: RunningSandbox, pool: Pool, verifier: Verifier, other_verifier: Verifier
) -> None:
    """The order is paid whether its registration or its payment commits first, without a later look."""
    paid = await _paid_in_bulk(sandbox, "order", TRIES)
    notice_ids = await _record(pool, "order", paid)

    async def register_all(numbers: range) -> None:
        for number in numbers:
            await stored.register_order(pool, f"order-{number}")

    for start in range(0, TRIES, AT_ONCE):
        ids = notice_ids[start : start + AT_ONCE]
        # The first is registered before the looks and the last after them. The others race.
        first, last = range(start, start + 1), range(start + AT_ONCE - 1, start + AT_ONCE)
        await register_all(first)
        await asyncio.gather(
            verifier.verify(ids[::2]),
            *(other_verifier.verify([notice]) for notice in ids[1::2]),
            register_all(range(first.stop, last.start)),
        )
        await register_all(last)
    states = Counter(row["state"] for row in await pool.fetch("SELECT state FROM orders"))
    assert states == {"paid": TRIES}
    first_states = Counter(row["state"] for row in await pool.fetch("SELECT state FROM order_events WHERE version = 1"))
    assert set(first_states) == {"pending", "paid"}, "both orders of events must occur"
    await _one_event_a_version(pool)


async def test_a_decision_under_the_locks_waits_for_whoever_locks_the_order(
    verifier: Verifier, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A look at a payment that is stored reads its order only when nobody else is deciding about it."""
    await stored.register_order(pool, "order-0")
    imp_uid = str((await sandbox.pay("order-0", 64900, webhook=False))["imp_uid"])
    await verifier.verify(await _record(pool, "order", [imp_uid]))
    await sandbox.move(imp_uid, "cancel", webhook=False)
    notice = Notice(new_notice_id(), Source.WEBHOOK, imp_uid, "order-0", claimed_status="cancelled")
    await in_statement(pool, notices.record, [notice], Timetable().queued)
    async with pool.acquire() as holder, holder.transaction():
        await orders.lock(holder, ["order-0"])
        verifying = asyncio.create_task(verifier.verify([notice.id]))
        await until(lambda: stored.waits_for_a_lock(pool))
        assert not verifying.done()
    await verifying
    assert await stored.events(pool, "order-0") == [(1, "pending"), (2, "paid"), (3, "cancelled")]
