"""Each change of an order is one version and one event, and constraints repeat the rules (docs/design.md §2.7)."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from service.db import looks, orders
from service.db.orders import StoredOrder
from service.db.pool import Pool, in_transaction
from service.domain.judgement import Judgement
from service.domain.order import Problem, ProblemKind, Settlement, State
from service.domain.timetable import Timetable
from tests.service import stored

PAID = Settlement(State.PAID, 64900, 0, "imp_1", (Problem(ProblemKind.DUPLICATE_PAYMENT, "imp_2"),))


async def _read(pool: Pool, *merchant_uids: str) -> list[StoredOrder]:
    return await in_transaction(pool, orders.read, merchant_uids, allow_test_channel=False)


async def _change(pool: Pool, *changes: tuple[StoredOrder, Settlement]) -> None:
    names = [order.terms.merchant_uid for order, _ in changes]
    await in_transaction(pool, looks.write, names, Judgement(changes=changes), Timetable())


async def test_a_change_is_a_version_and_an_event(pool: Pool) -> None:
    """A settlement is read back unchanged, one version later, and its event has the same content."""
    await stored.register_order(pool, "주문/1")
    [before] = await _read(pool, "주문/1")
    await _change(pool, (before, PAID))
    [after] = await _read(pool, "주문/1")
    assert (after.settlement, after.version, after.terms) == (PAID, 2, before.terms)
    event = await pool.fetchrow("SELECT * FROM order_events ORDER BY id DESC LIMIT 1")
    assert event is not None
    assert (event["version"], event["state"], event["paid_amount"], event["imp_uid"]) == (2, "paid", 64900, "imp_1")
    assert event["problems"] == [{"kind": "duplicate_payment", "imp_uid": "imp_2"}]


async def test_many_changes_in_one_statement(pool: Pool) -> None:
    """Each order of a batch gets its own version and event, with or without problems."""
    for number in range(5):
        await stored.register_order(pool, f"order-{number}")
    before = await _read(pool, *(f"order-{number}" for number in range(5)))
    await _change(
        pool, *((order, replace(PAID, problems=PAID.problems * (number % 3))) for number, order in enumerate(before))
    )
    assert await pool.fetchval("SELECT count(*) FROM order_events WHERE version = 2 AND state = 'paid'") == 5
    after = {
        order.terms.merchant_uid: order.settlement.problems
        for order in await _read(pool, *(o.terms.merchant_uid for o in before))
    }
    assert [len(after[order.terms.merchant_uid]) for order in before] == [0, 1, 2, 0, 1]


async def test_a_stale_change_is_refused_whole(pool: Pool) -> None:
    """A change to an old version is refused, together with its whole batch."""
    for name in ("order-1", "order-2"):
        await stored.register_order(pool, name)
    stale, other = await _read(pool, "order-1", "order-2")
    await _change(pool, (stale, Settlement(State.FAILED)))
    with pytest.raises(asyncpg.SerializationError):
        await _change(pool, (stale, PAID), (other, PAID))
    assert await stored.events(pool, other.terms.merchant_uid) == [(1, "pending")]
    assert await stored.events(pool, stale.terms.merchant_uid) == [(1, "pending"), (2, "failed")]


@pytest.mark.parametrize(
    "change",
    [
        "state = 'paid'",
        "state = 'paid', paid_amount = 64899, imp_uid = 'imp_1'",
        "state = 'paid', paid_amount = 64900",
        "state = 'paid', paid_amount = 64900, imp_uid = 'imp_1', cancelled_amount = 1",
        "state = 'mismatched', paid_amount = 1",
        "cancelled_amount = 1",
        "cancelled_amount = -1",
        "paid_amount = -1",
        "amount = 0",
        "amount = -1",
    ],
)
async def test_what_the_table_refuses(pool: Pool, change: str) -> None:
    """The table refuses `paid` without the whole amount, a refund above it, and other impossible orders."""
    await stored.register_order(pool, "order-1")
    await pool.execute("DELETE FROM order_events")
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE orders SET {change}")  # noqa: S608 - from this test


async def test_one_event_a_version(pool: Pool) -> None:
    """The same version cannot have two events."""
    await stored.register_order(pool, "order-1")
    insert = (
        "INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,"
        " problems, cause) VALUES ($1, $2, 'pending', 1, 'KRW', 0, 0, '[]', 'look')"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(insert, "order-1", 1)


@pytest.mark.parametrize("metadata", [None, {}, {"a": [1, {"b": "한글"}]}])
async def test_metadata_reads_back(pool: Pool, metadata: dict[str, Any] | None) -> None:
    """The shop's metadata is read back unchanged."""
    await stored.register_order(pool, "order-1", metadata=metadata)
    [order] = await _read(pool, "order-1")
    assert order.metadata == metadata
