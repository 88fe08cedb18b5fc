"""arq's worker, to which jobs are named, and whose claim and finish cost one Redis command each for many jobs.

arq itself polls twice a second, and takes about 17 commands and 350 µs of CPU for a job; each of its three writes
waits for Redis' log (docs/performance.md). That is replaced here only for our own batches of notices: arq runs cron
lines and all other jobs of the queue. The queue and its jobs stay arq's, so that its plain worker may run beside ours
(docs/decisions/0003-wake-the-worker-instead-of-polling.md, 0035-name-each-job-to-one-worker.md).
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

import structlog
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.worker import Worker

from service.redis.bounds import REDIS_AWAY
from service.redis.listeners import new_channel
from service.redis.queue import QUEUE_NAME, VERIFY, deserialize, heed_cancellation, show

log = structlog.get_logger()

# The poll is for deferred jobs, for cron, and for what no message brought.
_POLL_SECONDS = 0.25

# Finished jobs leave the queue together, because each write waits for Redis' log. Nobody waits for it. It is less than
# the time for which a named job is hidden.
_FINISH_SECONDS = 0.1

# A clock that moves by more than this against the one that only counts was set, or the machine slept.
_CLOCK_SET_SECONDS = 1.0

# A claimed job's score is moved behind its lease, so that no worker reads it meanwhile: arq's own worker leaves it in
# front, where enough of them would hide the rest of the queue.
_CLAIM = """
local claimed = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
    redis.call('ZADD', KEYS[1], 'XX', ARGV[1] + ARGV[3], id)
    if redis.call('SET', ARGV[4] .. id, '1', 'PX', ARGV[3], 'NX') then
        claimed[#claimed + 1] = {id, redis.call('GET', ARGV[5] .. id) or ''}
    end
end
return claimed
"""


class WokenWorker(Worker):
    """A worker that begins with what is named to it, and polls when other jobs were queued or a place came free.

    Set `woken` for those others. Jobs are named on `channel`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(poll_delay=0, handle_signals=False, **options)
        self.woken = asyncio.Event()
        self.woken.set()  # for jobs that were queued before the start
        self.channel = new_channel(self.pool)
        self._claim = self.pool.register_script(_CLAIM)
        self._finished: list[str] = []
        # Jobs that were named to this worker while it had no place, and when each is due.
        self._left: dict[str, int] = {}
        self._finishing = set[asyncio.Task[None]]()
        self._next_finish: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._claiming = asyncio.Lock()
        self._clock_ahead = time.time() - time.monotonic()
        for line in self.cron_jobs:
            line.next_run = None  # the worker before this one, which lost Redis, may have planned it by a wrong clock

    def begin(self, job_id: str, due_at_ms: int, ids: list[str]) -> None:
        """Begin with a job while it is being queued or, without a place for it, leave it to all workers."""
        if self.allow_pick_jobs and self.job_counter < self.max_jobs:
            self._run(job_id, self._verify(ids), is_batch=True)
        else:
            self._left[job_id] = due_at_ms
            self._finish_soon()

    async def _poll_iteration(self) -> None:
        heed_cancellation()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self.woken.wait()
        self.woken.clear()
        async with self._claiming:
            if self.allow_pick_jobs and self.job_counter < self.max_jobs:
                await self._claim_jobs(self.max_jobs - self.job_counter)
        for job_id, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[job_id]
                task.result()  # an error of arq's own ends its loop, as in arq
        # arq queues cron lines in several tasks; a cancellation would leave them behind with an open connection.
        self._beating = self.loop.create_task(self.heart_beat())
        await asyncio.shield(self._beating)

    async def _sleep_until_tasks_complete(self) -> None:
        """Wait for what a claim that is under way brings, too. arq would cancel it, and leave its jobs to the sweep."""
        async with self._claiming:
            pass
        await super()._sleep_until_tasks_complete()

    async def heart_beat(self) -> None:
        """Plan the cron lines again if the clock was set.

        arq would be silent until a clock that was set back has reached the old time again. One that was set forward
        would have it make up for each tick, and plan the next ones ahead of the clock that is then set right.
        """
        ahead = time.time() - time.monotonic()
        if abs(ahead - self._clock_ahead) > _CLOCK_SET_SECONDS:
            log.warning("worker.clock_set", by_seconds=round(ahead - self._clock_ahead, 3))
            self._clock_ahead = ahead
            for line in self.cron_jobs:
                line.calculate_next(datetime.now(self.timezone))
        await super().heart_beat()

    async def _claim_jobs(self, limit: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        lease_ms = int(self.in_progress_timeout_s * 1000)
        claimed = await self._claim(
            keys=[QUEUE_NAME], args=[now_ms, limit, lease_ms, in_progress_key_prefix, job_key_prefix]
        )
        for job_id, body in claimed:
            self._start(job_id.decode(), body, now_ms)
        if len(claimed) == limit:
            self.woken.set()  # there may be more than we took

    def _start(self, job_id: str, body: bytes, now_ms: int) -> None:
        if (begun := self.tasks.get(job_id)) and not begun.done():  # it was named to this worker before
            return
        ids = _notices(body)
        if ids is None:
            self._run(job_id, self.run_job(job_id, now_ms), is_batch=False)
        else:
            self._run(job_id, self._verify(ids), is_batch=True)

    def _run(self, job_id: str, work: Coroutine[Any, Any, None], *, is_batch: bool) -> None:
        self.job_counter += 1
        self.tasks[job_id] = self.loop.create_task(self._run_to_end(job_id, work, is_batch))

    async def _run_to_end(self, job_id: str, work: Coroutine[Any, Any, None], is_batch: bool) -> None:
        """Run a job, and take a batch off the queue, as arq does with its own jobs.

        Its place is free before that, but its task lasts until then. A batch never raises; what a killed worker leaves,
        the sweep queues again.
        """
        try:
            await work
        finally:
            self._free_place()
        if is_batch:
            self.jobs_complete += 1
            self._finished.append(job_id)
            await asyncio.shield(self._finish_soon())

    async def _verify(self, ids: Sequence[str]) -> None:
        await self.functions[VERIFY].coroutine(self.ctx, ids)

    def _free_place(self) -> None:
        if self.job_counter >= self.max_jobs:
            self.woken.set()
        self.job_counter -= 1

    def under_way(self) -> list[asyncio.Task[Any]]:
        """Return what still works with Redis: the jobs, the end of those that are done, and cron."""
        return [*self.tasks.values(), *self._finishing, *([self._beating] if self._beating else [])]

    def _finish_soon(self) -> asyncio.Task[None]:
        """Return the task that will next finish jobs."""
        if self._next_finish is None:
            self._next_finish = self.loop.create_task(self._finish())
            self._finishing.add(self._next_finish)
            self._next_finish.add_done_callback(self._finishing.discard)
        return self._next_finish

    async def _finish(self) -> None:
        """Take the finished jobs off the queue, and show to all what was left, at once for many jobs.

        A failure leaves jobs that run again without effect.
        """
        await asyncio.sleep(_FINISH_SECONDS)
        finished, left = self._finished, self._left
        self._finished, self._left, self._next_finish = [], {}, None
        try:
            if finished:
                await self._remove(finished)
            if left:
                await show(self.pool, left)
        except REDIS_AWAY as error:
            log.warning("jobs.not_finished", count=len(finished), reason=type(error).__name__)

    async def _remove(self, job_ids: Sequence[str]) -> None:
        keys = [prefix + job_id for job_id in job_ids for prefix in _KEYS_OF_A_JOB]
        async with self.pool.pipeline(transaction=True) as pipe:
            pipe.zrem(QUEUE_NAME, *job_ids)
            pipe.delete(*keys)
            await pipe.execute()


_KEYS_OF_A_JOB = (job_key_prefix, in_progress_key_prefix, retry_key_prefix)


def _notices(body: bytes) -> list[str] | None:
    """Return the notices of a job that is a batch of ours; None for any other job, which arq runs."""
    try:
        job = deserialize(body)
        [ids] = job["a"]
        return ids if job["f"] == VERIFY and not job["k"] else None
    except (ValueError, TypeError, KeyError):
        return None
