"""Batching in the worker: notices that arrive while a batch is verified form the next batch.

Runs begin no closer together than the budget of calls to PortOne allows. Otherwise a flood in small batches uses up
each second's calls at its beginning, and the notices of the rest of the second find none and come again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from service.redis.queue import NOTICES_PER_JOB

# A run that takes longer than this waits for PortOne or for a disk, so the next begins beside it. A longer limit left
# a sixth of two cores idle under load; with a shorter one batches are too small to pay.
_SLOW_SECONDS = 0.008
# A full batch does not wait that long: it begins at once beside at most this many runs. 1 settles a twentieth more
# payments a second than 0; with 2 more runs share the cores, and fewer payments are settled.
_WHOLE_BESIDE = 1
# At most this many runs at once.
_RUNS_MAX = 8


class Batcher:
    """A runner of batches, one after the other, or side by side while PortOne is slow. No timer delays a lone batch."""

    def __init__(self, run: Callable[[Sequence[UUID]], Awaitable[None]], spacing_seconds: float = 0.0) -> None:
        """Runs begin at least `spacing_seconds` apart, in which notices gather."""
        self._run = run
        self._spacing_seconds = spacing_seconds
        self._next_at = 0.0
        self._waiting: deque[tuple[Sequence[UUID], asyncio.Future[None]]] = deque()
        self._size = 0  # of all that wait
        self._runs: dict[asyncio.Task[None], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def join(self, ids: Sequence[UUID]) -> None:
        """Return once these notices went through a run. Raise the run's error, if any, as all who joined it do."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((ids, done))
        self._size += len(ids)
        self._start()
        await done

    async def close(self) -> None:
        """Wait for the runs that are under way."""
        while self._runs:
            await asyncio.wait(self._runs)

    def _start(self) -> None:
        """Start a run if none is under way, or if all that are have become slow."""
        if not self._waiting or len(self._runs) >= _RUNS_MAX:
            return
        if (wait := self._wait_seconds()) > 0:
            self._start_later(wait)
            return
        run = asyncio.create_task(self._run_next(self._take()))
        self._runs[run] = time.monotonic()
        self._next_at = self._runs[run] + self._spacing_seconds
        run.add_done_callback(self._ended)

    def _wait_seconds(self) -> float:
        if not self._runs or (self._size >= NOTICES_PER_JOB and len(self._runs) <= _WHOLE_BESIDE):
            return self._next_at - time.monotonic()
        return max(max(self._runs.values()) + _SLOW_SECONDS, self._next_at) - time.monotonic()

    def _start_later(self, wait_seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_seconds, self._start_now)

    def _start_now(self) -> None:
        self._timer = None
        self._start()

    def _take(self) -> list[tuple[Sequence[UUID], asyncio.Future[None]]]:
        """Take as many of the waiting calls as fit into one batch, at least the first."""
        batch = [self._waiting.popleft()]
        size = len(batch[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= NOTICES_PER_JOB:
            size += len(self._waiting[0][0])
            batch.append(self._waiting.popleft())
        self._size -= size
        return batch

    async def _run_next(self, batch: Sequence[tuple[Sequence[UUID], asyncio.Future[None]]]) -> None:
        error: Exception | None = None
        try:
            await self._run([notice_id for ids, _ in batch for notice_id in ids])
        except Exception as raised:
            error = raised
        for _, done in batch:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _ended(self, run: asyncio.Task[None]) -> None:
        del self._runs[run]
        self._start()
