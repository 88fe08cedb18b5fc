"""arq's cron tasks: sweep what is due, reconcile, prune. They never raise, because each turn is made up by the next."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from service.db import deliveries, idempotency_keys, notices
from service.db.pool import in_statement, in_transaction
from service.errors import NotAsked, PostgresUnavailable, RedisUnavailable
from service.redis.queue import NOTICES_PER_JOB
from service.usecases.heartbeat import trouble
from workers.parts import Parts, Turn
from workers.verify import PARTS

log = structlog.get_logger()

# To a queue that is this long already a sweep adds live work alone: workers are behind, not idle.
_QUEUED_JOBS_MAX = 200
_PRUNED_AT_ONCE = 1_000
# Of more keys than these the oldest are forgotten early; whoever repeats such a call has it run again.
_IDEMPOTENCY_KEYS_MAX = 1_000_000


async def sweep(ctx: Mapping[str, Any]) -> None:
    """Move what was spilled into Postgres, then queue what is due (docs/design.md §3, Reconciliation a)."""
    parts: Parts = ctx[PARTS]
    try:
        spilled = await _sweep_spill(parts)
        queued = await _sweep_due(parts)
    except (PostgresUnavailable, RedisUnavailable) as error:
        log.warning("sweep.failed", reason=str(error))
        parts.vitals.trouble = trouble(error)
        return
    parts.vitals.worked()
    if spilled or queued:
        log.info("sweep.done", spilled=spilled, queued=queued)


async def _sweep_spill(parts: Parts) -> int:
    moved = 0
    while entries := await parts.queue.spilled(NOTICES_PER_JOB):
        given = [(entry.entry_id, entry.notice) for entry in entries for _ in range(entry.arrivals) if entry.notice]
        results = await parts.recorder.record([notice for _, notice in given]) if given else []
        recorded = {entry_id for (entry_id, _), row in zip(given, results, strict=True) if isinstance(row, UUID)}
        await in_statement(parts.pool, notices.confirm, [row for row in results if isinstance(row, UUID)])
        # Only now: what is committed may be forgotten.
        await parts.queue.forget_spilled(sorted(recorded))
        for entry_id in {entry.entry_id for entry in entries} - recorded:
            await parts.queue.set_spilled_aside(entry_id)
            log.error("spill.unreadable", entry=entry_id.decode())
        moved += len(recorded)
    return moved


async def _sweep_due(parts: Parts) -> int:
    """Queue what is due, each lane up to its share; live work overtakes whatever the queue is full of."""
    backlog = await parts.queue.length() > _QUEUED_JOBS_MAX
    count = 0
    for lane, limit in {0: notices.SWEPT[0]}.items() if backlog else notices.SWEPT.items():
        due = await in_transaction(parts.pool, notices.take_due, parts.times.queued, lane=lane, limit=limit)
        for start in range(0, len(due), NOTICES_PER_JOB):
            await parts.queue.put(due[start : start + NOTICES_PER_JOB], first=lane == 0)
        count += len(due)
    return count


async def reconcile(ctx: Mapping[str, Any]) -> None:
    """Take one turn of all that finds what no notice told, and of what follows (docs/design.md §3, b to d)."""
    parts: Parts = ctx[PARTS]
    reconciler = parts.reconciler
    for turn in (reconciler.ask_about_silent_orders, reconciler.walk_ledger, *parts.turns):
        await _take(turn)


async def _take(turn: Turn) -> None:
    """One turn's failure is its own: the next still gets its turn, and this one comes again."""
    name = getattr(turn, "__name__", "?")
    try:
        await turn()
    except (PostgresUnavailable, RedisUnavailable, NotAsked) as error:
        log.warning("turn.failed", turn=name, reason=str(error))
    except Exception:
        log.exception("turn.failed", turn=name)


async def prune(ctx: Mapping[str, Any]) -> None:
    """Delete what ended long ago, in small batches; `order_events` never."""
    parts: Parts = ctx[PARTS]
    try:
        pruned = await _prune_notices(parts)
        keys = await _prune_idempotency_keys(parts)
        await _prune_attempts(parts)
    except PostgresUnavailable as error:
        log.warning("notices.not_pruned", reason=str(error))
        return
    if pruned or keys:
        log.info("notices.pruned", count=pruned, idempotency_keys=keys)


async def _prune_notices(parts: Parts) -> int:
    pruned = 0
    while done := await in_transaction(
        parts.pool, notices.prune, parts.keep_handled, parts.keep_unregistered, _PRUNED_AT_ONCE
    ):
        pruned += done
    return pruned


async def _prune_idempotency_keys(parts: Parts) -> int:
    kept = parts.times.idempotency_kept
    since = await in_transaction(parts.pool, idempotency_keys.kept_since, kept, _IDEMPOTENCY_KEYS_MAX)
    pruned = 0
    while done := await in_transaction(parts.pool, idempotency_keys.prune, since, _PRUNED_AT_ONCE):
        pruned += done
    return pruned


async def _prune_attempts(parts: Parts) -> None:
    while await in_transaction(parts.pool, deliveries.prune_attempts, parts.keep_attempts, _PRUNED_AT_ONCE):
        pass
