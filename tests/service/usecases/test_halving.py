"""A batch for which Postgres takes too long is halved, so that its other items are done."""

import contextlib
from collections.abc import Sequence

import pytest

from service.db import notices
from service.db import pool as pool_module
from service.db.pool import Pool, in_statement
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.errors import PostgresUnavailable
from service.notice_ids import new_notice_id
from service.settings import Settings
from service.usecases.halving import in_halves
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from workers.parts import make_parts
from workers.verify import verify


class Work:
    """Work on numbers that takes Postgres too long for the slow ones, and keeps those that it has done."""

    def __init__(self, *slow: int, cause: type[Exception] = TimeoutError) -> None:
        self.slow, self.cause = set(slow), cause
        self.done: list[int] = []
        self.calls = 0

    async def __call__(self, numbers: Sequence[int]) -> None:
        self.calls += 1
        if self.slow & set(numbers):
            raise PostgresUnavailable("it takes too long") from self.cause()
        self.done += numbers


@pytest.mark.parametrize("slow", [0, 1, 50, 98, 99])
async def test_one_slow_item_delays_no_other(slow: int) -> None:
    """All but the slow one of a hundred are done, in few calls, and its error is raised."""
    work = Work(slow)
    with pytest.raises(PostgresUnavailable):
        await in_halves(range(100), work)
    assert sorted(work.done) == [number for number in range(100) if number != slow]
    assert work.calls <= 15


async def test_a_slow_postgres_is_not_asked_over_and_over() -> None:
    """Where both halves take too long, Postgres itself is slow: what is due comes again."""
    work = Work(*range(100))
    with pytest.raises(PostgresUnavailable):
        await in_halves(range(100), work)
    assert work.calls == 3


async def test_an_absent_postgres_is_asked_once() -> None:
    """Nothing is halved where Postgres cannot be reached."""
    work = Work(5, cause=ConnectionRefusedError)
    with pytest.raises(PostgresUnavailable):
        await in_halves(range(100), work)
    assert work.calls == 1


async def test_a_whole_batch_is_one_call() -> None:
    """A batch that is quick enough is one piece of work."""
    work = Work()
    await in_halves(range(100), work)
    assert (work.calls, len(work.done)) == (1, 100)


@pytest.mark.parametrize(("namespace", "key"), [(1, "imp_uid"), (2, "merchant_uid")], ids=["claim", "write"])
async def test_the_neighbours_of_a_locked_payment_are_verified(
    settings: Settings,
    pool: Pool,
    sandbox: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    namespace: int,
    key: str,
) -> None:
    """Nine orders of one batch become paid while somebody holds the lock of the tenth's payment or order."""
    monkeypatch.setattr(pool_module, "_STATEMENT_SECONDS", 0.5)
    given = [await _given(pool, sandbox, f"order-{number}") for number in range(10)]
    ids = await in_statement(pool, notices.record, given, Timetable().queued)
    async with pool.acquire() as holder, make_parts(settings) as parts:
        await holder.execute("SELECT pg_advisory_lock($1, hashtext($2))", namespace, getattr(given[3], key))
        with contextlib.suppress(PostgresUnavailable):
            await verify(parts.verifier, parts.queue, ids)
    states = {number: (await stored.order(pool, f"order-{number}"))["state"] for number in range(10)}
    assert states == {number: "pending" if number == 3 else "paid" for number in range(10)}


async def _given(pool: Pool, sandbox: RunningSandbox, merchant_uid: str) -> Notice:
    await stored.register_order(pool, merchant_uid)
    imp_uid = (await sandbox.pay(merchant_uid, 64900, webhook=False))["imp_uid"]
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, claimed_status="paid")
