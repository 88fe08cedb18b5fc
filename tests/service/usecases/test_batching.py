"""Batches that arrive during a run form the next run."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from service.redis.queue import NOTICES_PER_JOB
from service.usecases import batching
from service.usecases.batching import Batcher


class Runs:
    """A verification that ends when the test says so, and keeps the ids of each run."""

    def __init__(self) -> None:
        self.batches: list[list[UUID]] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, ids: Sequence[UUID]) -> None:
        self.batches.append(list(ids))
        self.begun.set()
        await self.go_on.wait()


async def test_a_lone_batch_runs_at_once() -> None:
    """A batch runs at once if no run is under way."""
    runs, ids = Runs(), [uuid4()]
    runs.go_on.set()
    await Batcher(runs).join(ids)
    assert runs.batches == [ids]


async def test_those_that_come_meanwhile_run_together() -> None:
    """Ten batches that arrive during a run form the next run."""
    runs = Runs()
    batcher = Batcher(runs)
    first = asyncio.create_task(batcher.join([uuid4()]))
    await runs.begun.wait()
    later = [asyncio.create_task(batcher.join([uuid4()])) for _ in range(10)]
    await asyncio.sleep(0)
    runs.go_on.set()
    await asyncio.gather(first, *later)
    assert [len(ids) for ids in runs.batches] == [1, 10]


async def test_a_run_is_bounded() -> None:
    """No run has more notices than a look can ask for."""
    runs = Runs()
    batcher = Batcher(runs)
    first = asyncio.create_task(batcher.join([uuid4()]))
    await runs.begun.wait()
    later = [asyncio.create_task(batcher.join([uuid4() for _ in range(60)])) for _ in range(3)]
    await asyncio.sleep(0)
    runs.go_on.set()
    await asyncio.gather(first, *later)
    assert max(len(ids) for ids in runs.batches) <= NOTICES_PER_JOB
    assert sum(len(ids) for ids in runs.batches) == 181


async def test_a_slow_run_holds_nobody_up() -> None:
    """While PortOne is slow, the next batch runs beside the waiting one."""
    runs = Runs()
    batcher = Batcher(runs)
    slow = asyncio.create_task(batcher.join([uuid4()]))
    await runs.begun.wait()
    runs.begun.clear()
    beside = asyncio.create_task(batcher.join([uuid4()]))
    async with asyncio.timeout(10):
        await runs.begun.wait()
    assert not slow.done()
    runs.go_on.set()
    await asyncio.gather(slow, beside)


async def test_a_whole_batch_waits_for_one_run_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full batch starts at once beside a run, and the next full batch waits."""
    monkeypatch.setattr(batching, "_SLOW_SECONDS", 60.0)
    runs = Runs()
    batcher = Batcher(runs)
    sizes = (1, NOTICES_PER_JOB - 1, NOTICES_PER_JOB, NOTICES_PER_JOB)
    joined = [asyncio.create_task(batcher.join([uuid4() for _ in range(size)])) for size in sizes]
    for _ in range(10):
        await asyncio.sleep(0)
    assert [len(ids) for ids in runs.batches] == [1, NOTICES_PER_JOB - 1]
    runs.go_on.set()
    await asyncio.gather(*joined)
    assert [len(ids) for ids in runs.batches] == list(sizes)


async def test_an_error_is_every_joiners() -> None:
    """A failed run raises for every batch in it, and the next run is not affected."""
    calls = 0

    async def fail_once(ids: Sequence[UUID]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("away")

    batcher = Batcher(fail_once)
    with pytest.raises(OSError, match="away"):
        await batcher.join([uuid4()])
    await batcher.join([uuid4()])
    await batcher.close()
    assert calls == 2


async def test_a_flood_in_small_batches_is_gathered() -> None:
    """Runs begin no closer together than their spacing, and what arrives meanwhile is one batch."""
    runs = Runs()
    runs.go_on.set()
    batcher = Batcher(runs, spacing_seconds=0.2)
    began = time.monotonic()
    flood = []
    for _ in range(50):
        flood.append(asyncio.create_task(batcher.join([uuid4()])))
        await asyncio.sleep(0.002)
    await asyncio.gather(*flood)
    assert len(runs.batches) <= 2 + (time.monotonic() - began) / 0.2
    assert len(runs.batches[0]) == 1
    assert sum(len(ids) for ids in runs.batches) == 50
