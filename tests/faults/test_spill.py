"""Notices that were accepted while Postgres was away stay in Redis until they are committed."""

from types import SimpleNamespace
from typing import Any

from service.db.pool import Pool, open_pool
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.redis.queue import NOTICES_PER_JOB, Queue, connect
from service.usecases.heartbeat import Vitals
from service.usecases.recording import Recorder
from tests.ports import own_port
from workers.tasks import sweep
from workers.verify import PARTS

TIMES = Timetable()


async def test_a_sweep_that_cannot_commit_forgets_nothing(pool: Pool, redis_url: str) -> None:
    """A sweep without Postgres keeps the notice in the stream, and a later sweep with Postgres records it."""
    queue = Queue(connect(redis_url))
    notice = Notice(new_notice_id(), Source.WEBHOOK, "imp_1", "order-1")
    await queue.spill([notice], [""])
    away = await open_pool(f"postgresql://nobody@127.0.0.1:{own_port()}/nothing")
    await sweep(_context(away, queue))
    assert [entry.notice for entry in await queue.spilled(NOTICES_PER_JOB)] == [notice]
    await sweep(_context(pool, queue))
    assert await queue.spilled(NOTICES_PER_JOB) == []
    assert await pool.fetchval("SELECT id FROM notices") == notice.id
    await away.close()
    await queue.close()


def _context(pool: Pool, queue: Queue) -> dict[str, Any]:
    """Return the parts that a sweep works with."""
    recorder = Recorder(pool, queue, TIMES)
    return {PARTS: SimpleNamespace(pool=pool, queue=queue, recorder=recorder, times=TIMES, vitals=Vitals())}
