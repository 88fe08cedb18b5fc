"""Coalescing: items that arrive while a batch is under way form the next batch (docs/design.md §3).

Intake, registration, reads, completion answers, confirmations, searches and the worker all go through this one
component. No timer delays a lone item, unless runs must begin some time apart. An item's own size is bounded by whoever
makes it, so that a batch's is too.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.db.pool import BAD_DATA
from service.errors import Overloaded, PostgresUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

# Work that gives way to other work goes on beside it after this long, so that it never starves.
_GIVES_WAY_SECONDS = 0.02

# A run returns for each item, in the items' order, its result or the error that is its alone.
Run = Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """The bounds of one kind of work; sizes are in items, or in what `weigh` says of them."""

    batch: int
    # Batches under way at once.
    runs: int = 1
    # What may wait for the next batch; whoever comes beyond that is told to come again.
    waiting: int = 5_000
    # A further run begins beside the others once the youngest is this old,
    slow_seconds: float = 0.0
    # or, for a whole batch, at once beside at most this many.
    whole_beside: int = 0
    # Runs begin at least this far apart, in which items gather.
    spacing_seconds: float = 0.0


def _one(item: object) -> int:
    return 1


class Coalescer(Generic[Item, Result]):
    """Batches of items. Whatever was joined is run, also for a caller that went away.

    `gives_way_to`: other work, between whose runs each of ours begins.
    """

    def __init__(
        self,
        run: Run[Item, Result],
        bounds: BatchBounds,
        weigh: Callable[[Item], int] = _one,
        gives_way_to: "Coalescer[Any, Any] | None" = None,
    ) -> None:
        self._run = run
        self._gives_way_to = gives_way_to
        self._bounds = bounds
        self._weigh = weigh
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._runs: dict[asyncio.Task[None], float] = {}
        self._next_at = 0.0
        self._starting = False  # a run that has not taken its items yet
        self._timer: asyncio.TimerHandle | None = None
        self._place = asyncio.Event()
        self._batch_ended = asyncio.Event()
        # For the metrics: what waits now; batches, items and items turned away since the start.
        self.waiting = self.batches = self.items = self.shed = 0

    async def join(self, item: Item) -> Result:
        """Return the item's result, or raise its error, once it went through a run. Raises Overloaded."""
        if self.waiting >= self._bounds.waiting:
            self.shed += 1
            raise Overloaded
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        self.waiting += self._weigh(item)
        self._start()
        return await result

    async def place(self) -> None:
        """Return once fewer wait than may."""
        while self.waiting >= self._bounds.waiting:
            self._place.clear()
            await self._place.wait()

    async def close(self) -> None:
        """Wait for the runs that are under way."""
        while self._runs:
            await asyncio.wait(self._runs)

    def _start(self) -> None:
        """Start a run, if one may begin. It takes its items in the loop's next turn, with all who join in this one."""
        if self._starting or not self._waiting or len(self._runs) >= self._bounds.runs:
            return
        if (wait := self._wait_seconds()) > 0:
            self._start_later(wait)
            return
        self._starting = True
        self._begin(asyncio.create_task(self._work()))

    def _begin(self, run: asyncio.Task[None]) -> None:
        self._runs[run] = time.monotonic()
        self._next_at = self._runs[run] + self._bounds.spacing_seconds

    def _wait_seconds(self) -> float:
        bounds, begins_at = self._bounds, self._next_at
        is_whole = self.waiting >= bounds.batch and len(self._runs) <= bounds.whole_beside
        if self._runs and not is_whole:
            begins_at = max(begins_at, max(self._runs.values()) + bounds.slow_seconds)
        return begins_at - time.monotonic()

    def _start_later(self, wait_seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_seconds, self._start_now)

    def _start_now(self) -> None:
        self._timer = None
        self._start()

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """Take as many of the waiting items as fit into one batch, at least the first."""
        batch = [self._waiting.popleft()]
        size = self._weigh(batch[0][0])
        while self._waiting and (more := size + self._weigh(self._waiting[0][0])) <= self._bounds.batch:
            size = more
            batch.append(self._waiting.popleft())
        self.waiting -= size
        self.batches += 1
        self.items += len(batch)
        self._place.set()
        self._start()  # beside this one, if that pays
        return batch

    async def _work(self) -> None:
        """Run batches until no other may begin. The next is sent before the last one's callers go on."""
        run = asyncio.current_task()
        assert run is not None  # noqa: S101 - it is one
        while True:
            await self._give_way()
            self._starting = False
            if self._waiting:  # else they were refused meanwhile
                await self._run_batch(self._take())
            del self._runs[run]
            if self._starting or not self._waiting or self._wait_seconds() > 0:
                break
            self._begin(run)
        self._start()  # sets the timer, if somebody waits

    async def _give_way(self) -> None:
        urgent = self._gives_way_to
        if urgent and urgent._runs:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GIVES_WAY_SECONDS):
                    await urgent._batch_ended.wait()

    async def _run_batch(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        results = await self._results([item for item, _ in batch])
        for (_, joined), result in zip(batch, results, strict=True):
            _tell(joined, result)
        self._batch_ended.set()  # wakes those who wait now
        self._batch_ended.clear()

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """Return each item's result or error. A batch that is refused for its data is run item by item."""
        try:
            return await self._run(items)
        except BAD_DATA as error:
            return [error] if len(items) == 1 else [result for item in items for result in await self._results([item])]
        except Exception as error:
            if isinstance(error, PostgresUnavailable) and error.is_silent:
                self._refuse_waiting(error)
            return [error] * len(items)

    def _refuse_waiting(self, error: Exception) -> None:
        """Give everybody who waits this error: a database that did not answer in time would keep them as long again."""
        while self._waiting:
            _tell(self._waiting.popleft()[1], error)
        self.waiting = 0
        self._place.set()


def _tell(joined: asyncio.Future[Result], result: Result | Exception) -> None:
    if joined.done():  # its caller went away
        return
    if isinstance(result, Exception):
        joined.set_exception(result)
    else:
        joined.set_result(result)
