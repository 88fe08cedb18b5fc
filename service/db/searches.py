"""The table `searches`: orders whose payments PortOne is to be asked for by the order's number.

A row is its search's timetable. A search serves whoever wanted it before it began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.db.pool import Connection
from service.domain.completion import Searched
from service.domain.payment import Store


@dataclass(frozen=True, slots=True)
class ClaimedSearch:
    """A search that this worker has claimed. `began_at` is Postgres' time, and names the claim."""

    merchant_uid: str
    store: Store
    tries: int
    began_at: datetime


async def want(db: Connection, merchant_uids: Sequence[str], spacing: timedelta) -> dict[str, datetime]:
    """Have the payments of these orders searched for; return since when, for those that are registered.

    An order is searched for again no sooner than `spacing` after its last search began. A row that waits already
    serves everybody who wants it, and is not written again.
    """
    rows = await db.fetch(
        """
        WITH wanted AS (
            -- Each order once, however often it is named: the clock goes on from row to row.
            SELECT o.merchant_uid, clock_timestamp() AS at
            FROM (SELECT DISTINCT m AS merchant_uid FROM unnest($1::text[]) AS m) g
            CROSS JOIN LATERAL (SELECT merchant_uid FROM orders WHERE merchant_uid = g.merchant_uid OFFSET 0) o
            ORDER BY o.merchant_uid
        ), written AS (
            INSERT INTO searches AS s (merchant_uid, wanted_at, due_at) SELECT merchant_uid, at, at FROM wanted
            ON CONFLICT (merchant_uid) DO UPDATE
               SET wanted_at = excluded.wanted_at, tries = 0,
                   due_at = coalesce(s.due_at, greatest(excluded.wanted_at, s.began_at + $2))
               WHERE s.due_at IS NULL OR s.claimed_until IS NOT NULL
        )
        SELECT merchant_uid, at FROM wanted
        """,
        merchant_uids,
        spacing,
    )
    return {row["merchant_uid"]: row["at"] for row in rows}


async def claim(db: Connection, limit: int, lease: timedelta) -> list[ClaimedSearch]:
    """Claim a bounded number of due searches, each with the store of its order."""
    rows = await db.fetch(
        """
        WITH due AS (
            SELECT merchant_uid FROM searches
            WHERE due_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE searches s SET claimed_until = clock_timestamp() + $2, tries = s.tries + 1
            FROM due WHERE s.merchant_uid = due.merchant_uid
            RETURNING s.merchant_uid, s.tries, clock_timestamp() AS began_at
        )
        SELECT claimed.*, o.account, o.tier FROM claimed JOIN LATERAL (
            SELECT account, tier FROM orders WHERE merchant_uid = claimed.merchant_uid OFFSET 0) o ON true
        """,
        limit,
        lease,
    )
    return [
        ClaimedSearch(row["merchant_uid"], Store(row["account"], row["tier"]), row["tries"], row["began_at"])
        for row in rows
    ]


async def end(
    db: Connection, search: ClaimedSearch, searched: Searched, again_in: timedelta | None, spacing: timedelta
) -> timedelta | None:
    """Write how a search ended; return the time until the next one. None: no more.

    It is searched again after `again_in`, or if it was wanted again after it began.
    """
    wait: timedelta | None = await db.fetchval(
        """
        UPDATE searches SET claimed_until = NULL, began_at = $2, last_outcome = $3, window_open = $6,
               due_at = CASE WHEN $4::interval IS NOT NULL THEN now() + $4
                             WHEN wanted_at > $2 THEN greatest(now(), $2 + $5) END
        WHERE merchant_uid = $1
        RETURNING due_at - now()
        """,
        search.merchant_uid,
        search.began_at,
        searched.outcome.value,
        again_in,
        spacing,
        searched.window_open,
    )
    return wait


async def last_began_at(db: Connection, merchant_uid: str) -> datetime:
    """Return when the last search that ended had begun. The order has had one."""
    at: datetime = await db.fetchval("SELECT began_at FROM searches WHERE merchant_uid = $1", merchant_uid)
    return at
