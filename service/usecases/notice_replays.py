"""Replaying notices by a person's word: they are made due at once, and PortOne's answer is what counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service.db import notice_list, operator_actions
from service.db.pool import Connection, Pool, in_transaction
from service.errors import RedisUnavailable
from service.redis.queue import Queue

# As many of the parked notices as one replay of all of them takes, the longest parked first.
REPLAYED_MAX = 1_000
_QUEUED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ReplayedNotices:
    """The notices that were made due. `queued` False: Redis is away, and they are looked at once it is back."""

    ids: Sequence[UUID]
    queued: bool


async def replay(pool: Pool, queue: Queue, ids: Sequence[UUID] | None, who: str, why: str) -> ReplayedNotices:
    """Make these notices due, or with None the parked ones, and record who did it. Raises PostgresUnavailable."""

    async def work(db: Connection) -> list[UUID]:
        named = ids
        if named is None:
            named = [notice.id for notice in await notice_list.parked_after(db, None, REPLAYED_MAX)]
        replayed = await notice_list.replay(db, named)
        await operator_actions.append(db, who, why, "notices.replay", [str(notice_id) for notice_id in replayed])
        return replayed

    replayed = await in_transaction(pool, work)
    try:
        for start in range(0, len(replayed), _QUEUED_AT_ONCE):
            await queue.put(replayed[start : start + _QUEUED_AT_ONCE])
    except RedisUnavailable:
        return ReplayedNotices(replayed, queued=False)
    return ReplayedNotices(replayed, queued=True)
