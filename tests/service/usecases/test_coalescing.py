"""Coalescing: who arrives while a batch is under way forms the next."""

import asyncio
from collections.abc import Sequence

import pytest

from service.usecases.coalescing import Coalescer


class Runs:
    """Runs that end when a test says so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.may_end.wait()
        if self.error:
            raise self.error
        return [-item for item in items]


async def _joined(coalescer: Coalescer[int, int], *items: int) -> list[asyncio.Task[int]]:
    joined = [asyncio.create_task(coalescer.join(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return joined


async def test_a_lone_item_begins_at_once_and_the_next_share_a_run() -> None:
    """Each has its own result, and no batch is larger than it may be."""
    runs = Runs()
    coalescer = Coalescer[int, int](runs.run, batch=2)
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2, 3, 4)
    assert runs.batches == [[1]]
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2, -3, -4]
    assert runs.batches == [[1], [2, 3], [4]]
    await coalescer.close()


async def test_several_runs_at_once() -> None:
    """A run that hangs holds up nobody while another may begin."""
    runs = Runs()
    coalescer = Coalescer[int, int](runs.run, batch=2, runs=2)
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2) + await _joined(coalescer, 3)
    assert runs.batches == [[1], [2]]
    runs.may_end.set()
    assert await asyncio.gather(*joined) == [-1, -2, -3]


async def test_an_error_is_everybodys_in_the_batch() -> None:
    """The next batch runs all the same."""
    runs = Runs()
    coalescer = Coalescer[int, int](runs.run, batch=10)
    runs.error = ValueError("no")
    joined = await _joined(coalescer, 1)
    runs.may_end.set()
    with pytest.raises(ValueError, match="no"):
        await joined[0]
    runs.error = None
    assert await coalescer.join(2) == -2


async def test_who_gave_up_is_not_run() -> None:
    """A caller that was cancelled while it waited costs nothing."""
    runs = Runs()
    coalescer = Coalescer[int, int](runs.run, batch=10)
    joined = await _joined(coalescer, 1) + await _joined(coalescer, 2, 3)
    joined[1].cancel()
    await asyncio.sleep(0)
    runs.may_end.set()
    assert [await joined[0], await joined[2]] == [-1, -3]
    assert runs.batches == [[1], [3]]
