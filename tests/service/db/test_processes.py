"""The table of running processes says who runs, and forgets who is gone."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from service.db import processes
from service.db.pool import Pool, in_transaction
from service.db.processes import Report


def a_report(pid: int = 1, *, ahead: timedelta = timedelta(), worked: timedelta | None = None) -> Report:
    now = datetime.now(UTC) + ahead
    worked_at = None if worked is None else now - worked
    return Report(uuid4(), "worker", "host", pid, "1.0", now, worked_at, None, {}, {}, {"PORT": "8080"})


async def test_a_process_reports_itself_again_and_again(pool: Pool) -> None:
    """A second report is the same row, with the same start."""
    report = a_report()
    for _ in range(2):
        await in_transaction(pool, processes.report, report)
    [process] = await in_transaction(pool, processes.read)
    assert (process.name, process.settings) == ("worker 1 on host", {"PORT": "8080"})
    assert not process.is_silent


async def test_a_wrong_clock_does_not_change_when_it_worked(pool: Pool) -> None:
    """A process whose clock is an hour ahead is known to be, and its last sweep is timed by Postgres' clock."""
    await in_transaction(pool, processes.report, a_report(ahead=timedelta(hours=1), worked=timedelta(seconds=20)))
    [process] = await in_transaction(pool, processes.read)
    assert 3590 < process.clock_ahead_seconds < 3610
    assert process.idle_seconds is not None
    assert 19 < process.idle_seconds < 30


async def test_one_that_was_replaced_or_is_long_gone_is_not_read(pool: Pool) -> None:
    """A killed process is read until another of its kind and host has started since, or a day is over."""
    await in_transaction(pool, processes.report, a_report(1))
    await pool.execute(
        "UPDATE processes SET started_at = now() - interval '3 hours', seen_at = now() - interval '2 hours'"
    )
    assert [process.is_silent for process in await in_transaction(pool, processes.read)] == [True]
    await in_transaction(pool, processes.report, a_report(2))
    assert [process.pid for process in await in_transaction(pool, processes.read)] == [2]
    await pool.execute("UPDATE processes SET seen_at = now() - interval '25 hours'")
    assert await in_transaction(pool, processes.read) == []
    await in_transaction(pool, processes.remove, uuid4())
    assert await pool.fetchval("SELECT count(*) FROM processes") == 0
