"""Notices' rows are their timetable: recorded once, claimed by one, ended or due again (DESIGN.md §3, Timetable)."""

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


async def _record(pool: Pool, *said: Notice) -> list[UUID]:
    return await in_transaction(pool, notices.record, said, QUEUED)


async def _claim(pool: Pool, ids: Sequence[UUID]) -> Claim:
    return await in_transaction(pool, looks.claim, ids, Timetable(), allow_test_channel=False)


async def test_recording_twice_keeps_one_row(pool: Pool) -> None:
    """A write that is repeated, also after its order was registered, adds nothing."""
    notice = _notice()
    assert await _record(pool, notice) == await _record(pool, notice) == [notice.id]
    await stored.register_order(pool, "order-1")
    assert await _record(pool, notice) == [notice.id]
    assert await stored.count(pool, "notices") == 1


async def test_registered_notices_have_rows_of_their_own(pool: Pool) -> None:
    """Each keeps its own claim, so that none is lost in another."""
    await stored.register_order(pool, "order-1")
    said = [_notice() for _ in range(3)]
    assert await _record(pool, *said) == [notice.id for notice in said]


async def test_unregistered_notices_share_a_row(pool: Pool) -> None:
    """One row a payment, due again and with its tries forgotten whenever somebody speaks of it."""
    first, second, third = [_notice("imp_1", f"nobody-{number}") for number in range(3)]
    await _record(pool, first)
    await _claim(pool, [first.id])
    rows = await _record(pool, second, third)
    assert set(rows) == {first.id}
    [row] = await stored.notices(pool, "imp_1")
    assert (row["tries"], row["claimed_until"], row["registered"]) == (0, None, False)


async def test_due_notices_are_taken_once(pool: Pool) -> None:
    """Two sweeps at once share what is due, oldest first and bounded; each notice has one waker."""
    await _record(pool, *(_notice(f"imp_{number}", None) for number in range(50)))
    await pool.execute("UPDATE notices SET due_at = now() - interval '1 second'")
    taken = await asyncio.gather(*(in_transaction(pool, notices.take_due, 30, QUEUED) for _ in range(3)))
    ids = [notice_id for some in taken for notice_id in some]
    assert len(ids) == len(set(ids)) == 50
    assert max(len(some) for some in taken) <= 30
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
    """Every notice is open, handled, or parked with a reason: exactly one, whatever the code says."""
    await _record(pool, _notice())
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE notices SET {change}")  # noqa: S608 - the test's own
