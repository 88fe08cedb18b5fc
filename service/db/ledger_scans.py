"""The table `ledger_scans`: when each account and tier is walked next, and how far a long walk has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.db.pool import Connection
from service.domain.payment import Store


@dataclass(frozen=True, slots=True)
class Scan:
    """A walk that this worker has taken: its first page, and whether it goes to the end of the list.

    `known_until`: the last complete walk compared all changes before this time; None if there was none.
    """

    store: Store
    page: int
    whole: bool
    known_until: datetime | None


async def ensure(db: Connection, stores: Sequence[Store]) -> None:
    """Insert the missing rows of these accounts and tiers; the first walk of each is a whole one."""
    await db.execute(
        "INSERT INTO ledger_scans (account, tier) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
        [store.account for store in stores],
        [store.tier for store in stores],
    )


async def take(db: Connection, stores: Sequence[Store], every: timedelta, whole_every: timedelta) -> Scan | None:
    """Take a due walk of one of these stores, if any; no other worker takes it before its next time."""
    row = await db.fetchrow(
        """
        UPDATE ledger_scans s SET next_at = now() + $1,
               began_at = CASE WHEN next_page = 1 THEN now() ELSE began_at END, whole = whole OR
               (next_page = 1 AND (last_whole_at IS NULL OR last_whole_at < now() - $2::interval))
        WHERE (account, tier) = (SELECT account, tier FROM ledger_scans
                                 WHERE next_at <= now()
                                   AND (account, tier) IN (SELECT * FROM unnest($3::text[], $4::text[]))
                                 ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING account, tier, next_page, whole, known_until
        """,
        every,
        whole_every,
        [store.account for store in stores],
        [store.tier for store in stores],
    )
    if row is None:
        return None
    return Scan(Store(row["account"], row["tier"]), row["next_page"], row["whole"], row["known_until"])


async def record_page(db: Connection, scan: Scan, page: int) -> None:
    """Record that the walk has come to this page: if this worker dies, another goes on from there."""
    await db.execute(
        "UPDATE ledger_scans SET next_page = $3 WHERE account = $1 AND tier = $2",
        scan.store.account,
        scan.store.tier,
        page,
    )


async def go_on(db: Connection, scan: Scan, page: int) -> None:
    """End a turn before the walk's end: the next turn goes on from this page, at once."""
    await db.execute(
        "UPDATE ledger_scans SET next_page = $3, next_at = now() WHERE account = $1 AND tier = $2",
        scan.store.account,
        scan.store.tier,
        page,
    )


async def complete(db: Connection, scan: Scan) -> None:
    await db.execute(
        """
        UPDATE ledger_scans SET next_page = 1, whole = false, last_completed_at = now(), known_until = began_at,
               last_whole_at = CASE WHEN whole THEN now() ELSE last_whole_at END
        WHERE account = $1 AND tier = $2
        """,
        scan.store.account,
        scan.store.tier,
    )
