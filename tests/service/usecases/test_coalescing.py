"""Coalescing: who arrives while a batch is under way forms the next."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import pytest

from service.errors import Overloaded, PostgresUnavailable
from service.usecases import coalescing
from service.usecases.coalescing import BatchBounds, Coalescer

Results = list[int | Exception]


class Runs:
    """Runs that end when a test says so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def run(self, items: Sequence[int]) -> Results:
        self.batches.append(list(items))
        await self.may_end.wait()
        if self.error:
            raise self.error
        return [-item for item in items]


def _coalescer(runs: Runs, bounds: BatchBounds) -> Coalescer[int, int]:
    return Coalescer[int, int](runs.run, bounds)


async def _joined(coalescer: Coalescer[int, int], *items: int) -> list[asyncio.Task[int]]:
    joined = [asyncio.create_task(coalescer.join(item)) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return joined


async def test_a_lone_item_begins_at_once_and_the_next_share_a_run() -> None:
    """Each has its own result, and no batch is larger than it may be."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(2))
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2, 3, 4)
    assert runs.batches == [[1]]
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2, -3, -4]
    assert runs.batches == [[1], [2, 3], [4]]
    await coalescer.close()


async def test_several_runs_at_once() -> None:
    """A run that hangs holds up nobody while another may begin."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(2, runs=2))
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2) + await _joined(coalescer, 3)
    assert runs.batches == [[1], [2]]
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2, -3]


async def test_a_run_begins_beside_a_slow_one() -> None:
    """Once the youngest run is slow, the next begins beside it, and not before."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(2, runs=2, slow_seconds=0.05))
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2)
    assert runs.batches == [[1]]
    async with asyncio.timeout(10):
        while len(runs.batches) < 2:  # noqa: ASYNC110 - a timer of the coalescer's begins it
            await asyncio.sleep(0.01)
    assert runs.batches == [[1], [2]]
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2]


async def test_a_whole_batch_waits_for_one_run_at_most() -> None:
    """A whole batch begins at once beside one run, and the next whole batch waits."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(2, runs=8, slow_seconds=60.0, whole_beside=1))
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2, 3) + await _joined(coalescer, 4, 5)
    assert runs.batches == [[1], [2, 3]]
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2, -3, -4, -5]


async def test_a_batch_is_bounded_by_the_weight_of_its_items() -> None:
    """Items that weigh more fill a batch sooner; one that weighs more than a batch runs alone."""
    runs = Runs()
    coalescer = Coalescer[int, int](runs.run, BatchBounds(100), weigh=lambda item: item)
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 60, 40, 60, 180)
    runs.may_end.set()
    await asyncio.gather(*joined)
    assert runs.batches == [[1], [60, 40], [60], [180]]


async def test_an_error_is_everybodys_in_the_batch() -> None:
    """The next batch runs all the same."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(10))
    runs.error = ValueError("no")
    joined = await _joined(coalescer, 1)
    runs.may_end.set()
    with pytest.raises(ValueError, match="no"):
        await joined[0]
    runs.error = None
    assert await coalescer.join(2) == -2


async def test_an_item_has_its_own_error() -> None:
    """A run may return an error for one item, and results for the others."""

    async def refuse_odd(items: Sequence[int]) -> Results:
        return [ValueError("odd") if item % 2 else item for item in items]

    coalescer = Coalescer[int, int](refuse_odd, BatchBounds(10))
    results = await asyncio.gather(*(coalescer.join(item) for item in (1, 2, 3, 4)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, int, ValueError, int]


async def test_an_item_that_the_database_refuses_is_refused_alone() -> None:
    """A batch that fails for its data runs again, item by item."""

    async def refuse_two(items: Sequence[int]) -> Results:
        if 2 in items:
            raise asyncpg.DataError("two")
        return [-item for item in items]

    coalescer = Coalescer[int, int](refuse_two, BatchBounds(10))
    results = await asyncio.gather(*(coalescer.join(item) for item in (1, 2, 3)), return_exceptions=True)
    assert [results[0], type(results[1]), results[2]] == [-1, asyncpg.DataError, -3]


async def test_no_more_wait_than_may() -> None:
    """An item beyond the bound is refused at once, and `place` waits until it would be taken."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(2, waiting=2))
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2, 3)
    with pytest.raises(Overloaded):
        await coalescer.join(4)
    place = asyncio.create_task(coalescer.place())
    await asyncio.sleep(0)
    assert not place.done()
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2, -3]
    await place
    assert (coalescer.waiting, coalescer.batches, coalescer.items, coalescer.shed) == (0, 2, 3, 1)


async def test_nobody_waits_behind_a_silent_database() -> None:
    """When Postgres did not answer in time, whoever waits is told so; a refused connection is its batch's alone."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(1))
    refused, silent = PostgresUnavailable(), PostgresUnavailable()
    silent.__cause__ = TimeoutError()
    runs.error = refused
    runs.may_end.set()
    results = await asyncio.gather(*(coalescer.join(item) for item in (1, 2)), return_exceptions=True)
    assert (results, runs.batches) == ([refused, refused], [[1], [2]])
    runs.error = silent
    results = await asyncio.gather(*(coalescer.join(item) for item in (3, 4, 5)), return_exceptions=True)
    assert (results, runs.batches) == ([silent] * 3, [[1], [2], [3]])
    assert coalescer.waiting == 0


async def test_a_caller_that_gave_up_harms_nobody() -> None:
    """Its item is run with the others, who have their own results."""
    runs = Runs()
    coalescer = _coalescer(runs, BatchBounds(10))
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2, 3)
    joined[0].cancel()
    joined[1].cancel()
    await asyncio.sleep(0)
    runs.may_end.set()
    assert await joined[2] == -3
    assert runs.batches == [[1], [2, 3]]


async def test_a_flood_in_small_batches_is_gathered() -> None:
    """Runs begin no closer together than their spacing, and what arrives meanwhile is one batch."""
    runs = Runs()
    runs.may_end.set()
    coalescer = _coalescer(runs, BatchBounds(100, spacing_seconds=0.2))
    began = time.monotonic()
    flood = []
    for item in range(50):
        flood.append(asyncio.create_task(coalescer.join(item)))
        await asyncio.sleep(0.002)
    await asyncio.gather(*flood)
    assert len(runs.batches) <= 2 + (time.monotonic() - began) / 0.2
    assert len(runs.batches[0]) == 1
    assert sum(map(len, runs.batches)) == 50


async def test_a_run_that_gives_way_begins_between_the_others_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the urgent run under way, and goes on beside one that takes too long."""
    urgent_runs, runs = Runs(), Runs()
    runs.may_end.set()
    urgent = _coalescer(urgent_runs, BatchBounds(10))
    giving_way = Coalescer[int, int](runs.run, BatchBounds(10), gives_way_to=urgent)
    monkeypatch.setattr(coalescing, "_GIVES_WAY_SECONDS", 60.0)
    joined = await _joined(urgent, 1) + await _joined(giving_way, 2)
    assert runs.batches == []
    urgent_runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2]
    monkeypatch.setattr(coalescing, "_GIVES_WAY_SECONDS", 0.01)
    urgent_runs.may_end.clear()
    slow = await _joined(urgent, 3)
    assert await giving_way.join(4) == -4
    urgent_runs.may_end.set()
    await asyncio.gather(*slow)
