"""Recording a batch of notices: one INSERT, one arq job. Intake does it, and the sweep for what was spilled."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from service.db import notices
from service.db.pool import BAD_DATA, Pool, in_statement
from service.domain.notice import Notice
from service.domain.timetable import Timetable
from service.errors import PostgresUnavailable, RedisUnavailable, UnusableNotice
from service.redis.queue import Queue

log = structlog.get_logger()

# A store that has not answered by then counts as away.
_WRITE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes notices and queues them."""

    pool: Pool
    queue: Queue
    times: Timetable

    async def record(self, batch: Sequence[Notice]) -> list[UUID | UnusableNotice]:
        """Each notice's row, committed and, unless Redis is away, queued. Raises PostgresUnavailable.

        A notice that Postgres refuses for its data is refused alone.
        """
        try:
            rows = await self._insert(batch)
        except BAD_DATA as error:
            if len(batch) == 1:
                log.warning("notice.refused", reason=type(error).__name__)
                return [UnusableNotice("Postgres refused its text")]
            return [result for notice in batch for result in await self.record([notice])]
        await self._enqueue(batch, rows)
        return [*rows]

    async def _insert(self, batch: Sequence[Notice]) -> list[UUID]:
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                return await in_statement(self.pool, notices.record, batch, self.times.queued)
        except TimeoutError as error:
            raise PostgresUnavailable("it took too long") from error
        except BAD_DATA:
            raise
        except asyncpg.PostgresError as error:  # a webhook refused for that would be lost: PortOne repeats no 4xx
            raise PostgresUnavailable(type(error).__name__) from error

    async def _enqueue(self, batch: Sequence[Notice], rows: Sequence[UUID]) -> None:
        waited_for = any(notice.is_waited_for for notice in batch)
        try:
            await self.queue.put(list(dict.fromkeys(rows)), first=waited_for)
        except RedisUnavailable as error:
            # The rows are due in 3 s: the sweep queues them once Redis is back.
            log.warning("notices.not_queued", count=len(batch), reason=str(error))
