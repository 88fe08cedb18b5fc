"""Coalescing: items that arrive while a batch is under way form the next batch, which is one statement for all of them.

There is no timer, so a lone item never waits. Memory is bounded by the callers, each of whom waits for its own result.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A run returns a result for each item, in the items' order.
Run = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Coalescer(Generic[Item, Result]):
    """Batches of items, at most `runs` of them under way. An error of a run is every item's of its batch."""

    def __init__(self, run: Run[Item, Result], batch: int, runs: int = 1) -> None:
        self._run = run
        self._batch = batch
        self._runs = runs
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def join(self, item: Item) -> Result:
        """Return the item's result, once it went through a run."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if len(self._under_way) < self._runs:
            run = asyncio.create_task(self._run_waiting())
            self._under_way.add(run)
            run.add_done_callback(self._under_way.discard)
        return await result

    async def close(self) -> None:
        """Wait for the runs that are under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _run_waiting(self) -> None:
        while self._waiting:
            count = min(self._batch, len(self._waiting))
            joined = [self._waiting.popleft() for _ in range(count)]
            # Whoever gave up meanwhile needs no result.
            batch = [(item, result) for item, result in joined if not result.done()]
            if batch:
                await self._run_batch(batch)

    async def _run_batch(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        error: Exception | None = None
        results: Sequence[Result] = ()
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as raised:
            error = raised
        for number, (_, result) in enumerate(batch):
            if result.done():
                continue
            if error is None:
                result.set_result(results[number])
            else:
                result.set_exception(error)
