"""Requests for searches: the receiver has a worker ask PortOne for an order's payments, and asks nothing itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from service.db import searches
from service.db.pool import Pool, in_statement
from service.errors import RedisUnavailable
from service.redis.queue import Queue
from service.usecases.coalescing import BatchBounds, Coalescer

log = structlog.get_logger()

_BATCH = 100


class SearchRequests:
    """Records requests for searches. Those that arrive while one is written share one statement and one job."""

    def __init__(self, pool: Pool, queue: Queue, spacing: timedelta) -> None:
        self._pool = pool
        self._queue = queue
        self._spacing = spacing
        self.batches = Coalescer[str, datetime | None](self._write, BatchBounds(_BATCH))

    async def want(self, merchant_uid: str) -> datetime | None:
        """Have the order searched for; return since when. None: it is not registered. Raises PostgresUnavailable."""
        return await self.batches.join(merchant_uid)

    async def close(self) -> None:
        """Wait for what is being written."""
        await self.batches.close()

    async def _write(self, merchant_uids: Sequence[str]) -> Sequence[datetime | None]:
        wanted = await in_statement(self._pool, searches.want, merchant_uids, self._spacing)
        if wanted:
            try:
                await self._queue.search()
            except RedisUnavailable as error:
                # The rows are due: a cron line searches for them once Redis is back.
                log.warning("searches.not_queued", count=len(wanted), reason=str(error))
        return [wanted.get(merchant_uid) for merchant_uid in merchant_uids]
