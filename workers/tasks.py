"""arq's tasks: verify a batch, and sweep what is due. They never raise: a notice's row is its timetable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from service.db import notices
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice
from service.errors import QueueUnavailable, StoreUnavailable
from service.queue import BATCH_MAX, Queue
from service.timetable import Timetable
from service.verification import Verifier

log = structlog.get_logger()

# A sweep is bounded, and it adds nothing to a queue that is this long already: workers are behind, not idle.
_SWEPT_MAX = 1_000
_QUEUED_JOBS_MAX = 200


@dataclass(frozen=True, slots=True)
class Parts:
    """What the tasks work with; one a worker."""

    pool: Pool
    queue: Queue
    verifier: Verifier
    times: Timetable


PARTS = "parts"  # where arq's context holds them


async def verify_notices(ctx: Mapping[str, Any], ids: Sequence[str]) -> None:
    """Look once for the whole batch, write what it means, and tell whoever waits."""
    parts: Parts = ctx[PARTS]
    try:
        done = await parts.verifier.verify([UUID(i) for i in ids])
    except StoreUnavailable as error:
        log.warning("notices.not_verified", count=len(ids), reason=str(error))
        return
    except Exception:
        log.exception("notices.not_verified", count=len(ids))
        return
    try:
        if done.told:
            await parts.queue.tell(done.told)
        if done.again:
            await parts.queue.put(done.again, done.again_in)
    except QueueUnavailable as error:
        log.warning("notices.not_told", count=len(done.told), reason=str(error))
    log.info(
        "notices.verified",
        notices=len(ids),
        looked=done.looked,
        stored=done.stored,
        changed=done.changed,
        failed=done.failed,
    )


async def sweep(ctx: Mapping[str, Any]) -> None:
    """Move what was spilled into Postgres, then queue what is due (DESIGN.md §3, Reconciliation a)."""
    parts: Parts = ctx[PARTS]
    try:
        spilled = await _sweep_spill(parts)
        queued = await _sweep_due(parts)
    except (StoreUnavailable, QueueUnavailable) as error:
        log.warning("sweep.failed", reason=str(error))
        return
    if spilled or queued:
        log.info("sweep.done", spilled=spilled, queued=queued)


async def _sweep_spill(parts: Parts) -> int:
    moved = 0
    while entries := await parts.queue.spilled(BATCH_MAX):
        found = [notice for _, notice in entries if notice is not None]
        for unreadable in (entry for entry, notice in entries if notice is None):
            log.error("spill.unreadable", entry=unreadable.decode())
        await _record(parts, found)
        # Only now: what was committed may be forgotten.
        await parts.queue.forget_spilled([entry for entry, _ in entries])
        moved += len(found)
    return moved


async def _record(parts: Parts, found: Sequence[Notice]) -> None:
    rows = await in_transaction(parts.pool, lambda db: notices.record(db, found, parts.times.queued))
    await parts.queue.put(list(dict.fromkeys(rows.values())))


async def _sweep_due(parts: Parts) -> int:
    if await parts.queue.length() > _QUEUED_JOBS_MAX:
        return 0
    due = await in_transaction(parts.pool, lambda db: notices.take_due(db, _SWEPT_MAX, parts.times.queued))
    for start in range(0, len(due), BATCH_MAX):
        await parts.queue.put(due[start : start + BATCH_MAX])
    return len(due)
