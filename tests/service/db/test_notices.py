"""A notice's row is its timetable: recorded once, claimed by one worker, ended or due again (docs/design.md §3)."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from service.db import looks, notices
from service.db.looks import Claim
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from tests.service import stored

QUEUED = timedelta(seconds=3)


def _notice(imp_uid: str = "imp_1", merchant_uid: str | None = "order-1") -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, claimed_status="paid")


async def _record(pool: Pool, *batch: Notice) -> list[UUID]:
    return await in_transaction(pool, notices.record, batch, QUEUED)


async def _claim(pool: Pool, ids: Sequence[UUID]) -> Claim:
    return await in_transaction(pool, looks.claim, ids, Timetable(), allow_test_channel=False)


async def test_recording_twice_keeps_one_row(pool: Pool) -> None:
    """A repeated write adds no row, even after the order was registered."""
    notice = _notice()
    assert await _record(pool, notice) == await _record(pool, notice) == [notice.id]
    await stored.register_order(pool, "order-1")
    assert await _record(pool, notice) == [notice.id]
    assert await stored.count(pool, "notices") == 1


async def test_registered_notices_have_rows_of_their_own(pool: Pool) -> None:
    """Each notice of a registered order has its own row, so that no claim is lost."""
    await stored.register_order(pool, "order-1")
    batch = [_notice() for _ in range(3)]
    assert await _record(pool, *batch) == [notice.id for notice in batch]


async def test_unregistered_notices_share_a_row(pool: Pool) -> None:
    """Notices of an unregistered order share a row for each payment, which each new notice makes due again."""
    first, second, third = [_notice("imp_1", f"nobody-{number}") for number in range(3)]
    await _record(pool, first)
    await _claim(pool, [first.id])
    rows = await _record(pool, second, third)
    assert set(rows) == {first.id}
    [row] = await stored.notices(pool, "imp_1")
    assert (row["tries"], row["claimed_until"], row["registered"]) == (0, None, False)


async def test_due_notices_are_taken_once(pool: Pool) -> None:
    """Several sweeps at once divide the due notices, each with at most its limit, and each notice is taken once."""
    await _record(pool, *(_notice(f"imp_{number}", None) for number in range(50)))
    await pool.execute("UPDATE notices SET due_at = now() - interval '1 second'")
    taken = await asyncio.gather(*(in_transaction(pool, notices.take_due, 30, QUEUED) for _ in range(3)))
    ids = [notice_id for batch in taken for notice_id in batch]
    assert len(ids) == len(set(ids)) == 50
    assert max(len(batch) for batch in taken) <= 30
    assert await in_transaction(pool, notices.take_due, 30, QUEUED) == []


@pytest.mark.parametrize(
    "change",
    [
        "due_at = NULL",
        "handled_at = now()",
        "parked_at = now(), due_at = NULL",
        "source = 'rumour'",
        "imp_uid = ''",
        "imp_uid = repeat('i', 65)",
        "due_at = NULL, handled_at = now(), claimed_until = now()",
    ],
)
async def test_what_the_table_refuses(pool: Pool, change: str) -> None:
    """The table refuses a notice that is not exactly one of open, handled and parked with a reason."""
    await _record(pool, _notice())
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE notices SET {change}")  # noqa: S608 - from this test
