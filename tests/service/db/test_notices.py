"""Notices' rows are their timetable: recorded once, claimed by one, ended or due again (DESIGN.md §3, Timetable)."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from service.db import notices
from service.db.notices import OpenNotice
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice, Outcome, Source
from service.notice_ids import new_notice_id
from tests.service import stored

QUEUED = timedelta(seconds=3)
LEASE = timedelta(seconds=8)


def _notice(imp_uid: str = "imp_1", merchant_uid: str | None = "order-1") -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, claimed_status="paid")


async def _record(pool: Pool, *said: Notice) -> list[UUID]:
    return await in_transaction(pool, lambda db: notices.record(db, said, QUEUED))


async def _open(pool: Pool, ids: Sequence[UUID]) -> list[OpenNotice]:
    return await in_transaction(pool, lambda db: notices.open_for_claim(db, ids))


async def _claim(pool: Pool, ids: Sequence[UUID]) -> list[OpenNotice]:
    async def claim(db: asyncpg.Connection) -> list[OpenNotice]:
        found = await notices.open_for_claim(db, ids)
        await notices.claim(db, found, LEASE)
        return found

    return await in_transaction(pool, claim)


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


async def test_one_claim_at_a_time(pool: Pool) -> None:
    """A notice that is claimed is nobody else's until its lease is over."""
    await stored.register_order(pool, "order-1")
    notice = _notice()
    await _record(pool, notice)
    assert [found.id for found in await _claim(pool, [notice.id])] == [notice.id]
    assert await _open(pool, [notice.id]) == []
    await pool.execute("UPDATE notices SET claimed_until = now()")
    [again] = await _open(pool, [notice.id])
    assert again.tries == 1


async def test_rows_that_somebody_holds_are_passed_over(pool: Pool) -> None:
    """A claim waits for nobody's lock: what is held is skipped, its neighbours are taken."""
    said = [_notice(f"imp_{number}", None) for number in range(2)]
    await _record(pool, *said)
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT FROM notices WHERE id = $1 FOR UPDATE", said[0].id)
        async with asyncio.timeout(10):
            assert [found.id for found in await _open(pool, [notice.id for notice in said])] == [said[1].id]


@pytest.mark.parametrize("parked", [False, True])
async def test_an_end_is_an_end(pool: Pool, parked: bool) -> None:
    """Handled, or parked with its reason: never both, never due, and claimed no more."""
    notice = _notice()
    await _record(pool, notice)
    found = await _claim(pool, [notice.id])
    await in_transaction(pool, lambda db: notices.end(db, [(found[0], Outcome.LOOKED)], parked=parked))
    [row] = await stored.notices(pool, "imp_1")
    assert (row["due_at"], row["claimed_until"], row["last_outcome"]) == (None, None, "looked")
    assert (row["parked_at"] is not None, row["handled_at"] is not None) == (parked, not parked)
    assert await _open(pool, [notice.id]) == []


async def test_one_that_was_spoken_for_meanwhile_stays_due(pool: Pool) -> None:
    """A look serves the notices claimed before it began: the row that was spoken for since is looked at again."""
    notice = _notice()
    await _record(pool, notice)
    found = await _claim(pool, [notice.id])
    await _record(pool, _notice())
    await in_transaction(pool, lambda db: notices.end(db, [(found[0], Outcome.LOOKED)]))
    [row] = await stored.notices(pool, "imp_1")
    assert (row["due_at"] is not None, row["handled_at"]) == (True, None)


async def test_due_notices_are_taken_once(pool: Pool) -> None:
    """Two sweeps at once share what is due, oldest first and bounded; each notice has one waker."""
    await _record(pool, *(_notice(f"imp_{number}", None) for number in range(50)))
    await pool.execute("UPDATE notices SET due_at = now() - interval '1 second'")
    taken = await asyncio.gather(*(in_transaction(pool, lambda db: notices.take_due(db, 30, QUEUED)) for _ in range(3)))
    ids = [notice_id for some in taken for notice_id in some]
    assert len(ids) == len(set(ids)) == 50
    assert max(len(some) for some in taken) <= 30
    assert await in_transaction(pool, lambda db: notices.take_due(db, 30, QUEUED)) == []


@pytest.mark.parametrize(
    "change",
    [
        "due_at = NULL",
        "handled_at = now()",
        "parked_at = now(), due_at = NULL",
        "source = 'rumour'",
        "imp_uid = ''",
        "imp_uid = repeat('i', 33)",
        "due_at = NULL, handled_at = now(), claimed_until = now()",
    ],
)
async def test_what_the_table_refuses(pool: Pool, change: str) -> None:
    """Every notice is open, handled, or parked with a reason: exactly one, whatever the code says."""
    await _record(pool, _notice())
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE notices SET {change}")  # noqa: S608 - the test's own


async def test_a_claim_touches_no_index(pool: Pool) -> None:
    """Its version of the row stands beside the first, in the same page, but for the last row that fitted in one."""
    said = [_notice(f"imp_{number}", None) for number in range(100)]
    await _record(pool, *said)
    async with pool.acquire() as db, db.transaction():
        found = await notices.open_for_claim(db, [notice.id for notice in said])
        await notices.claim(db, found, LEASE)
        in_page = await db.fetchval("SELECT pg_stat_get_xact_tuples_hot_updated('notices'::regclass)")
    assert in_page >= 75  # with full pages, 10
