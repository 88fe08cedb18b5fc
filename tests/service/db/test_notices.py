"""A notice's row is its timetable: recorded once, claimed by one worker, ended or due again (docs/design.md §3)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.db import looks, notices
from service.db.looks import Claim
from service.db.pool import Connection, Pool, in_statement, in_transaction
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from tests.service import stored

QUEUED = timedelta(seconds=3)


def _notice(imp_uid: str = "imp_1", merchant_uid: str | None = "order-1") -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, claimed_status="paid")


async def _record(pool: Pool, *batch: Notice) -> list[UUID]:
    return await in_statement(pool, notices.record, batch, QUEUED)


async def _claim(pool: Pool, ids: Sequence[UUID]) -> Claim:
    return await in_transaction(pool, looks.claim, ids, Timetable(), allow_test_channel=False)


async def test_recording_twice_keeps_one_row(pool: Pool) -> None:
    """A repeated write adds no row, even after the order was registered."""
    notice = _notice()
    assert await _record(pool, notice) == await _record(pool, notice) == [notice.id]
    await stored.register_order(pool, "order-1")
    assert await _record(pool, notice) == [notice.id]
    assert await stored.count(pool, "notices") == 1


@pytest.mark.parametrize("ended", [False, True])
async def test_a_write_that_is_repeated_changes_nothing(pool: Pool, ended: bool) -> None:
    """A notice that was recorded already keeps its row as it is, whether it waits for a look or has had it."""
    await stored.register_order(pool, "order-1")
    notice = _notice()
    await _record(pool, notice)
    if ended:
        await pool.execute("UPDATE notices SET due_at = NULL, handled_at = now(), last_outcome = 'looked'")
    before = await stored.notices(pool, "imp_1")
    assert await _record(pool, notice) == [notice.id]
    assert await stored.notices(pool, "imp_1") == before


@pytest.mark.parametrize("ended", [False, True])
async def test_what_comes_with_a_repeated_notice_waits_for_a_look_of_its_own(pool: Pool, ended: bool) -> None:
    """A repeated notice, whose look is under way or over, does not answer for a new one that claims the same."""
    await stored.register_order(pool, "order-1")
    repeated, new = _notice(), _notice()
    await _record(pool, repeated)
    if ended:
        await pool.execute("UPDATE notices SET due_at = NULL, handled_at = now(), last_outcome = 'looked'")
    else:
        await _claim(pool, [repeated.id])
    assert await _record(pool, repeated, new) == [repeated.id, new.id if ended else repeated.id]
    [waiting] = [row for row in await stored.notices(pool, "imp_1") if row["due_at"]]
    assert (waiting["arrivals"], waiting["claimed_until"]) == (1 if ended else 2, None)


async def test_each_notice_of_a_mixed_batch_finds_its_row(pool: Pool) -> None:
    """A new notice gets a row, a repeated one that of the first, one of no registered order that of its payment."""
    await stored.register_order(pool, "order-1")
    first = [_notice(f"imp_{number}") for number in range(100)]
    unknown = [_notice(f"imp_{number}", "order-2") for number in range(100)]
    await _record(pool, *first, *unknown)
    again = [replace(notice, id=new_notice_id()) for notice in first]
    unknown_again = [replace(notice, id=new_notice_id(), claimed_status=None) for notice in unknown]
    new = [replace(notice, id=new_notice_id(), claimed_status="cancelled") for notice in first]
    mixed = [notice for of_one in zip(new, again, unknown_again, strict=True) for notice in of_one]
    rows = [notice.id for of_one in zip(new, first, unknown, strict=True) for notice in of_one]
    assert await _record(pool, *mixed) == rows


@pytest.mark.parametrize("at_once", [True, False])
async def test_notices_that_claim_the_same_share_a_row(pool: Pool, at_once: bool) -> None:
    """Notices of one payment and order share one open row, which is free to be claimed again."""
    await stored.register_order(pool, "order-1")
    first, *others = [_notice() for _ in range(3)]
    if at_once:
        assert await _record(pool, first, *others) == [first.id] * 3
    else:
        await _record(pool, first)
        await _claim(pool, [first.id])
        assert await _record(pool, *others) == [first.id] * 2
    [row] = await stored.notices(pool, "imp_1")
    assert (row["arrivals"], row["claimed_until"], row["last_outcome"]) == (3, None, None)


@pytest.mark.parametrize(
    "other",
    [
        {"claimed_status": "cancelled"},
        {"claimed_status": None},
        {"source": Source.COMPLETION},
        {"cancellation_id": "c-1"},
        {"tier": "abc"},
        {"account": "shop-b"},
        {"merchant_uid": "order-2"},
    ],
)
async def test_one_that_claims_something_else_has_a_row_of_its_own(pool: Pool, other: dict[str, Any]) -> None:
    """Each keeps its own claim, so that none is lost in another."""
    await stored.register_order(pool, "order-1")
    await stored.register_order(pool, "order-2")
    said = [_notice(), replace(_notice(), **other)]
    assert await _record(pool, *said) == [notice.id for notice in said]


async def test_what_ended_is_joined_by_nobody(pool: Pool) -> None:
    """A new notice of a payment that was handled is looked at for itself."""
    await stored.register_order(pool, "order-1")
    first, second = _notice(), _notice()
    await _record(pool, first)
    await pool.execute("UPDATE notices SET due_at = NULL, handled_at = now()")
    assert await _record(pool, second) == [second.id]


async def test_twenty_recorders_at_once(pool: Pool) -> None:
    """Of notices that are recorded while others end, none is lost, and at most one row is open."""
    await stored.register_order(pool, "order-1")

    async def end(db: Connection, row: UUID) -> None:
        await db.execute("UPDATE notices SET due_at = NULL, handled_at = now() WHERE id = $1 AND arrivals > 1", row)

    async def record() -> None:
        [row] = await _record(pool, _notice())
        await in_transaction(pool, end, row)

    await asyncio.gather(*(record() for _ in range(20)))
    assert await pool.fetchval("SELECT sum(arrivals) FROM notices") == 20
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE due_at IS NOT NULL") <= 1


async def test_unregistered_notices_share_a_row(pool: Pool) -> None:
    """One row for each payment, free to be claimed whenever somebody speaks of it; its age and tries stay."""
    first, second, third = [_notice("imp_1", f"nobody-{number}") for number in range(3)]
    await _record(pool, first)
    await _claim(pool, [first.id])
    await pool.execute("UPDATE notices SET received_at = received_at - interval '1 hour'")
    rows = await _record(pool, second, third)
    assert set(rows) == {first.id}
    [row] = await stored.notices(pool, "imp_1")
    assert (row["tries"], row["claimed_until"], row["registered"]) == (1, None, False)
    assert row["due_at"] - row["received_at"] > timedelta(minutes=59)


@pytest.mark.parametrize("ended", ["handled_at = now()", "parked_at = now(), last_outcome = 'payment_unknown'"])
async def test_a_shared_row_that_ended_begins_again(pool: Pool, ended: str) -> None:
    """A payment that is spoken of again is young again: it is not parked after one look."""
    first = _notice("imp_1", "nobody")
    await _record(pool, first)
    await _claim(pool, [first.id])
    await pool.execute("UPDATE notices SET received_at = received_at - interval '1 hour'")
    await pool.execute(f"UPDATE notices SET due_at = NULL, claimed_until = NULL, {ended}")  # noqa: S608
    await _record(pool, _notice("imp_1", "nobody"))
    [row] = await stored.notices(pool, "imp_1")
    assert (row["tries"], row["handled_at"], row["parked_at"]) == (0, None, None)
    assert row["due_at"] - row["received_at"] == QUEUED


async def _take_due(pool: Pool, *, lane: int, limit: int) -> list[UUID]:
    return await in_transaction(pool, notices.take_due, QUEUED, lane=lane, limit=limit)


async def test_each_lane_is_swept_by_itself(pool: Pool) -> None:
    """Live notices and those of reconciliation have shares of their own, even if many invented ones are due."""
    await stored.register_order(pool, "order-1")
    live, found, invented = _notice(), replace(_notice(), source=Source.RECONCILE), _notice("imp_2", "nobody")
    await _record(pool, live, found, invented)
    await pool.execute("UPDATE notices SET due_at = now() - interval '1 second'")
    lanes = [await _take_due(pool, lane=lane, limit=10) for lane in notices.SWEPT]
    assert lanes == [[live.id], [found.id], [invented.id]]


async def test_due_notices_are_taken_once(pool: Pool) -> None:
    """Several sweeps at once divide the due notices, each with at most its limit, and each notice is taken once."""
    await _record(pool, *(_notice(f"imp_{number}", None) for number in range(50)))
    await pool.execute("UPDATE notices SET due_at = now() - interval '1 second'")
    taken = await asyncio.gather(*(_take_due(pool, lane=2, limit=30) for _ in range(3)))
    ids = [notice_id for some in taken for notice_id in some]
    assert len(ids) == len(set(ids)) == 50
    assert max(len(some) for some in taken) <= 30
    assert await _take_due(pool, lane=2, limit=30) == []


@pytest.mark.parametrize(
    "change",
    [
        "due_at = NULL",
        "handled_at = now()",
        "parked_at = now(), due_at = NULL",
    ],
)
async def test_what_the_table_refuses(pool: Pool, change: str) -> None:
    """The table refuses a notice that is not exactly one of open, handled and parked with a reason."""
    await _record(pool, _notice())
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE notices SET {change}")  # noqa: S608 - from this test
