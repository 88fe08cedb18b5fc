"""Intake: what is accepted is durable (docs/design.md §2.1).

Notices that arrive while a write is under way form the next batch: one INSERT, one arq job, then all are
acknowledged.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from service.domain.notice import Notice
from service.errors import NoRoom, NothingRecorded, PostgresUnavailable, RedisUnavailable, UnfitPooler
from service.metrics import Metrics
from service.reasons import is_disk_full
from service.redis.queue import NOTICES_PER_JOB
from service.tracing import Tracing
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.recording import Recorder

log = structlog.get_logger()

# Memory is bounded: with this many notices waiting for their write, more must wait, PortOne's for 20 of its 30 s.
_WAITING_MAX = 5_000
_SLOWED_SECONDS = 20.0
# A Postgres that did not answer in time is left alone for this long, because it would keep the next batch waiting too.
_SILENT_SECONDS = 3.0
# How long it counts as full after its disk had no room for a notice. Whoever routes by `/readyz` comes again then.
_FULL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """An accepted notice: the row that stands for it, or None where it waits in Redis for Postgres' return."""

    row_id: UUID | None


class Intake:
    """Records notices and queues them. One a process, made where its loop runs."""

    def __init__(self, recorder: Recorder, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._recorder = recorder
        self._tracing = tracing
        self._metrics = metrics
        self._queue = recorder.queue
        self._loop = asyncio.get_running_loop()
        # One run at a time: two, with half of the batch each, settled a tenth less.
        self.batches = Coalescer[tuple[Notice, str], Receipt](
            self._accept_batch, BatchBounds(NOTICES_PER_JOB, waiting=_WAITING_MAX)
        )
        self._silent_until = 0.0
        self._full_until = 0.0

    @property
    def finds_disk_full(self) -> bool:
        """Return whether Postgres' disk had no room a moment ago, which only a write can tell."""
        return self._loop.time() < self._full_until

    async def accept(self, notice: Notice, sender: str = "unknown") -> Receipt:
        """Return once the notice is durable. Raises NothingRecorded, or UnusableNotice if it alone cannot be.

        `sender` is the client that sent it, and "" PortOne: each has its share of the room in Redis.
        """
        began = self._loop.time()
        if self.batches.waiting >= _WAITING_MAX // 2:
            await self._find_place(notice)
        receipt = await self.batches.join((notice, sender))
        self._metrics.acceptances.add(self._loop.time() - began)
        return receipt

    async def _find_place(self, notice: Notice) -> None:
        """Past capacity a browser is told to come again; PortOne, which sends only once, is slowed first."""
        if notice.is_waited_for:
            raise NothingRecorded("too many notices are waiting to be recorded")
        try:
            async with asyncio.timeout(_SLOWED_SECONDS):
                await self.batches.place()
        except TimeoutError:
            raise NothingRecorded("too many notices are waiting to be recorded") from None

    async def close(self) -> None:
        """Wait for what is being written."""
        await self.batches.close()

    def _count(self, results: Sequence[Receipt | Exception]) -> None:
        receipts = [result for result in results if isinstance(result, Receipt)]
        self._metrics.count_batch(
            accepted=len(receipts),
            spilled=sum(receipt.row_id is None for receipt in receipts),
            refused=len(results) - len(receipts),
        )

    async def _accept_batch(self, batch: Sequence[tuple[Notice, str]]) -> Sequence[Receipt | Exception]:
        results = await self._record_or_spill([notice for notice, _ in batch], [sender for _, sender in batch])
        self._count(results)
        if self._tracing:
            accepted = [
                (notice, result.row_id)
                for (notice, _), result in zip(batch, results, strict=True)
                if isinstance(result, Receipt)
            ]
            self._tracing.received([notice for notice, _ in accepted], [row for _, row in accepted])
        return results

    async def _record_or_spill(self, batch: Sequence[Notice], senders: Sequence[str]) -> Sequence[Receipt | Exception]:
        if self._loop.time() < self._silent_until:
            results = await self._spill(batch, senders, PostgresUnavailable("it was silent a moment ago"))
            if isinstance(results[0], Receipt | NoRoom):
                return results
        try:
            recorded = await self._recorder.record(batch)
            self._full_until = 0.0
            return [Receipt(row) if isinstance(row, UUID) else row for row in recorded]
        except PostgresUnavailable as error:
            if error.is_silent:
                self._silent_until = self._loop.time() + _SILENT_SECONDS
            if is_disk_full(error):
                self._full_until = self._loop.time() + _FULL_SECONDS
            return await self._spill(batch, senders, error)
        except Exception as error:
            log.exception("notices.not_recorded", count=len(batch))
            return [NothingRecorded(type(error).__name__)] * len(batch)

    async def _spill(
        self, batch: Sequence[Notice], senders: Sequence[str], reason: PostgresUnavailable
    ) -> Sequence[Receipt | Exception]:
        try:
            if not await self._queue.is_durable():
                away = "its pooler is unfit" if isinstance(reason, UnfitPooler) else "Postgres is away"
                return [NothingRecorded(f"{away}, and Redis is not set to keep what it accepts")] * len(batch)
            has_room = await self._queue.has_room()
            kept = await self._queue.spill(batch, senders) if has_room else [False] * len(batch)
        except RedisUnavailable:
            return [NothingRecorded("neither Postgres nor Redis can be reached")] * len(batch)
        log.warning("notices.spilled", count=sum(kept), no_room=len(kept) - sum(kept), reason=str(reason))
        self._metrics.count_no_room(len(kept) - sum(kept))
        return [Receipt(None) if is_kept else NoRoom() for is_kept in kept]
