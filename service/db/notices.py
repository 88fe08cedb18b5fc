"""The table `notices`: what was said, when it is due again, and how it ended."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import orjson

from service.db.pool import Connection
from service.domain.notice import Notice, Outcome
from service.notice_ids import first_id_since


async def record(db: Connection, notices: Sequence[Notice], queued_for: timedelta) -> list[UUID]:
    """Insert a batch in one statement; returns the id of the row that stands for each notice, in their order.

    A notice naming no registered order joins its payment's one row, which becomes due again. Recording the
    same notice twice keeps one row.
    """
    rows = await db.fetch(
        """
        WITH given AS (
            SELECT (g->>0)::uuid AS id, g->>1 AS source, g->>2 AS imp_uid, g->>3 AS merchant_uid, g->>4 AS tier,
                   g->>5 AS claimed_status, g->>6 AS cancellation_id, g->>7 AS account,
                   (SELECT true FROM orders o WHERE o.merchant_uid = g->>3) IS NOT NULL AS registered
            FROM jsonb_array_elements($1::text::jsonb) AS g
        ), new AS (
            INSERT INTO notices (id, source, imp_uid, merchant_uid, tier, claimed_status, cancellation_id, account,
                                 registered, due_at)
            SELECT id, source, imp_uid, merchant_uid, tier, claimed_status, cancellation_id, account, true, now() + $2
            FROM given WHERE registered
            ON CONFLICT DO NOTHING
        ), shared AS (
            INSERT INTO notices AS n (id, source, imp_uid, merchant_uid, tier, claimed_status,
                                      cancellation_id, account, registered, due_at)
            SELECT DISTINCT ON (imp_uid) id, source, imp_uid, merchant_uid, tier, claimed_status,
                   cancellation_id, account, false, now() + $2
            FROM given WHERE NOT registered ORDER BY imp_uid, id
            ON CONFLICT (imp_uid) WHERE NOT registered DO UPDATE
               SET arrivals = n.arrivals + 1, tries = 0, due_at = now() + $2, claimed_until = NULL,
                   handled_at = NULL, parked_at = NULL, last_outcome = NULL,
                   source = excluded.source, merchant_uid = excluded.merchant_uid,
                   -- Account and tier are one word: the newest that was said, and never one of each.
                   account = CASE WHEN excluded.tier IS NULL THEN coalesce(excluded.account, n.account)
                                  ELSE excluded.account END,
                   tier = CASE WHEN excluded.account IS NULL THEN coalesce(excluded.tier, n.tier)
                               ELSE excluded.tier END,
                   claimed_status = excluded.claimed_status, cancellation_id = excluded.cancellation_id
            RETURNING n.id, n.imp_uid
        )
        SELECT g.id AS given, s.id AS stored FROM given g JOIN shared s USING (imp_uid) WHERE NOT g.registered
        """,
        _told(notices),
        queued_for,
    )
    # Only rows that are shared come back: every other notice has the row that it brought.
    shared = {row["given"]: row["stored"] for row in rows}
    return [shared.get(notice.id, notice.id) for notice in notices]


def _told(notices: Sequence[Notice]) -> str:
    """The batch as one text, a tenth of the receiver's CPU less than an array a column: asyncpg asks of each element
    of an array whether it is a sequence. Raises DataError, as asyncpg does, for a text that has no UTF-8."""
    rows = [
        (str(n.id), n.source, n.imp_uid, n.merchant_uid, n.tier, n.claimed_status, n.cancellation_id, n.account)
        for n in notices
    ]
    try:
        return orjson.dumps(rows).decode()
    except TypeError as error:
        raise asyncpg.DataError("a text has no UTF-8") from error


async def take_due(db: Connection, limit: int, queued_for: timedelta) -> list[UUID]:
    """Move a bounded number of due notices on, so that each has one waker, and return them to be queued."""
    rows = await db.fetch(
        """
        UPDATE notices SET due_at = now() + $2, claimed_until = NULL
        WHERE id IN (SELECT id FROM notices WHERE due_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())
                     ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
        RETURNING id
        """,
        limit,
        queued_for,
    )
    return [row["id"] for row in rows]


async def outcome(db: Connection, notice_id: UUID) -> Outcome | None:
    """What the last look for the notice came to, or None while there was none."""
    found = await db.fetchval("SELECT last_outcome FROM notices WHERE id = $1", notice_id)
    return Outcome(found) if found else None


async def record_differences(db: Connection, differences: Sequence[Notice]) -> list[UUID]:
    """Record what reconciliation found, unless a look at the payment is to come, or it is known to be unreadable.

    A notice that is held may have been looked for before the difference arose, and one that is looked for in
    another account or tier finds nothing of it: neither stands for the look that is wanted. Returns the new rows,
    due at once.
    """
    rows = await db.fetch(
        """
        INSERT INTO notices (id, source, imp_uid, merchant_uid, account, tier, registered, due_at)
        SELECT g.id, g.source, g.imp_uid, g.merchant_uid, g.account, g.tier, true, now()
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $7::text[])
             AS g (id, source, imp_uid, merchant_uid, tier, account)
        WHERE NOT EXISTS (
            SELECT FROM notices n
                 LEFT JOIN payments p ON p.imp_uid = n.imp_uid
                 LEFT JOIN orders o ON o.merchant_uid = n.merchant_uid
            WHERE n.imp_uid = g.imp_uid AND (
                (n.due_at IS NOT NULL AND n.claimed_until IS NULL
                 AND coalesce(p.account, n.account, CASE WHEN n.tier IS NULL THEN o.account END, 'default') = g.account
                 AND coalesce(p.tier, n.tier, CASE WHEN n.account IS NULL OR n.account = o.account THEN o.tier END, '')
                     = g.tier)
                OR (n.parked_at > now() - interval '1 day' AND n.last_outcome = $6)))
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        [notice.id for notice in differences],
        [notice.source.value for notice in differences],
        [notice.imp_uid for notice in differences],
        [notice.merchant_uid for notice in differences],
        [notice.tier for notice in differences],
        Outcome.ANSWER_UNREADABLE.value,
        [notice.account for notice in differences],
    )
    return [row["id"] for row in rows]


async def replay_late(db: Connection, limit: int) -> list[UUID]:
    """Make notices due again that were parked for an order which has since been registered."""
    rows = await db.fetch(
        """
        UPDATE notices SET parked_at = NULL, due_at = now(), tries = 0
        WHERE id IN (SELECT n.id FROM notices n LEFT JOIN payments p USING (imp_uid)
                     WHERE n.parked_at IS NOT NULL AND n.last_outcome = $2
                       AND EXISTS (SELECT FROM orders o WHERE o.merchant_uid = coalesce(p.merchant_uid, n.merchant_uid))
                     ORDER BY n.parked_at LIMIT $1 FOR UPDATE OF n SKIP LOCKED)
        RETURNING id
        """,
        limit,
        Outcome.ORDER_NOT_REGISTERED.value,
    )
    return [row["id"] for row in rows]


async def prune(db: Connection, handled: timedelta, unregistered: timedelta, limit: int) -> int:
    """Delete a small batch of what ended so long ago; returns how many. OpenNotice notices are never deleted.

    A notice's id is the time that it came (UUIDv7): what is old stands first in the primary key.
    """
    done = await db.execute(
        """
        DELETE FROM notices WHERE id IN (
            (SELECT id FROM notices WHERE id < $3::uuid AND handled_at < now() - $1::interval ORDER BY id LIMIT $5)
            UNION ALL
            (SELECT id FROM notices WHERE NOT registered AND id < $4::uuid
                AND coalesce(handled_at, parked_at) < now() - $2::interval LIMIT $5))
        """,
        handled,
        unregistered,
        first_id_since(handled),
        first_id_since(unregistered),
        limit,
    )
    return int(done.split()[1])


async def looked(db: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the notices that a look of their own has handled."""
    rows = await db.fetch(
        "SELECT id FROM notices WHERE id = ANY($1::uuid[]) AND handled_at IS NOT NULL AND last_outcome = $2",
        ids,
        Outcome.LOOKED.value,
    )
    return {row["id"] for row in rows}
