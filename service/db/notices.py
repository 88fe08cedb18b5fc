"""The table `notices`: what was said, when it is due again, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from service.db.json_rows import json_rows
from service.db.pool import Connection
from service.domain.notice import Notice, Outcome
from service.domain.payment import Store
from service.notice_ids import first_id_since

# Rows are looked for again where another transaction recorded or ended the same notice at the same moment.
_TRIES = 5


async def record(db: Connection, notices: Sequence[Notice], queued_for: timedelta) -> list[UUID]:
    """Record a batch; return the id of the row that stands for each notice, in their order.

    A notice that claims the same of the same payment and order as one that is still open joins its row, which waits for
    another look even if one is under way. So does one that names no registered order join its payment's one row.
    Recording the same notice twice keeps one row. Run it as a statement of its own: what it waits for, and tries again,
    must not wait for what it has locked.
    """
    alike: dict[tuple[object, ...], list[Notice]] = {}
    for notice in notices:
        alike.setdefault(_claim(notice), []).append(notice)
    rows: dict[UUID, UUID] = {}
    left = [group for _, group in sorted(alike.items(), key=lambda item: str(item[0]))]
    for _ in range(_TRIES):
        rows |= await _record(db, left, queued_for)
        left = [rest for group in left if (rest := [notice for notice in group if notice.id not in rows])]
        if not left:
            break
    else:
        raise asyncpg.SerializationError("notices were recorded and ended at once, over and over")
    return [rows[notice.id] for notice in notices]


def _claim(notice: Notice) -> tuple[object, ...]:
    """Return what the index `notices_open` tells notices apart by."""
    cancels = notice.cancellation_id is not None
    return (
        notice.imp_uid, notice.merchant_uid, notice.source, notice.claimed_status, cancels, notice.account, notice.tier
    )  # fmt: skip


async def _record(db: Connection, groups: Sequence[Sequence[Notice]], queued_for: timedelta) -> dict[UUID, UUID]:
    """Return the rows of the groups' notices; whoever has none met another transaction, or came with a repeated notice.

    Nearly every notice is a new one of a registered order, for which one short statement is enough.
    """
    new = await db.fetch(
        """
        INSERT INTO notices (id, source, imp_uid, merchant_uid, tier, claimed_status, cancellation_id, account,
                             registered, arrivals, due_at)
        SELECT (g->>0)::uuid, g->>1, g->>2, g->>3, g->>4, g->>5, g->>6, g->>7, true, (g->>8)::integer, now() + $2
        FROM jsonb_array_elements($1::text::jsonb) AS g
        WHERE (SELECT true FROM orders o WHERE o.merchant_uid = g->>3)
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        json_rows(_columns(group[0], len(group)) for group in groups),
        queued_for,
    )
    ids = {row["id"] for row in new}
    rows = {notice.id: group[0].id for group in groups if group[0].id in ids for notice in group}
    left = [group for group in groups if group[0].id not in rows]
    return rows | await _join(db, left, queued_for) if left else rows


async def _join(db: Connection, groups: Sequence[Sequence[Notice]], queued_for: timedelta) -> dict[UUID, UUID]:
    """Add notices to the rows that stand for them already; those of no registered order get one if they have none."""
    rows = await db.fetch(
        """
        WITH given AS (
            SELECT (g->>0)::uuid AS id, g->>1 AS source, g->>2 AS imp_uid, g->>3 AS merchant_uid, g->>4 AS tier,
                   g->>5 AS claimed_status, g->>6 AS cancellation_id, g->>7 AS account, (g->>8)::integer AS arrivals,
                   (SELECT true FROM orders o WHERE o.merchant_uid = g->>3) IS NOT NULL AS registered
            FROM jsonb_array_elements($1::text::jsonb) AS g
        ), known AS (
            SELECT n.id FROM given g CROSS JOIN LATERAL (SELECT id FROM notices WHERE id = g.id OFFSET 0) n
            WHERE g.registered
        ), joined AS (
            INSERT INTO notices AS n (id, source, imp_uid, merchant_uid, tier, claimed_status, cancellation_id,
                                      account, registered, arrivals, due_at)
            SELECT id, source, imp_uid, merchant_uid, tier, claimed_status, cancellation_id, account, true, arrivals,
                   now() + $2
            FROM given WHERE registered AND id NOT IN (SELECT id FROM known)
            ON CONFLICT (imp_uid, merchant_uid, source, claimed_status, (cancellation_id IS NOT NULL), account, tier)
                WHERE due_at IS NOT NULL AND registered AND replayed_at IS NULL
            -- `crowded` is named as in claim_notices_v3.
            DO UPDATE SET arrivals = n.arrivals + excluded.arrivals, crowded = n.crowded, claimed_until = NULL,
                          last_outcome = NULL
            RETURNING n.*
        ), shared AS (
            INSERT INTO notices AS n (id, source, imp_uid, merchant_uid, tier, claimed_status,
                                      cancellation_id, account, registered, arrivals, due_at)
            SELECT DISTINCT ON (imp_uid) id, source, imp_uid, merchant_uid, tier, claimed_status,
                   cancellation_id, account, false, arrivals, now() + $2
            FROM given WHERE NOT registered ORDER BY imp_uid, id
            ON CONFLICT (imp_uid) WHERE NOT registered DO UPDATE
               SET arrivals = n.arrivals + excluded.arrivals, due_at = now() + $2, claimed_until = NULL,
                   -- What had ended begins again; what is open keeps its age and its tries, and so comes to an end.
                   tries = CASE WHEN n.due_at IS NULL THEN 0 ELSE n.tries END,
                   received_at = CASE WHEN n.due_at IS NULL THEN now() ELSE n.received_at END,
                   replayed_at = CASE WHEN n.due_at IS NULL THEN NULL ELSE n.replayed_at END,
                   handled_at = NULL, parked_at = NULL, last_outcome = NULL,
                   source = excluded.source, merchant_uid = excluded.merchant_uid,
                   -- Account and tier are one word: the newest that was given, and never one of each.
                   account = CASE WHEN excluded.tier IS NULL THEN coalesce(excluded.account, n.account)
                                  ELSE excluded.account END,
                   tier = CASE WHEN excluded.account IS NULL THEN coalesce(excluded.tier, n.tier)
                               ELSE excluded.tier END,
                   claimed_status = excluded.claimed_status, cancellation_id = excluded.cancellation_id
            RETURNING n.*
        )
        SELECT id, registered, imp_uid, merchant_uid, source, claimed_status, cancellation_id IS NOT NULL, account, tier
        FROM (TABLE joined UNION ALL TABLE shared) AS standing
        UNION ALL SELECT id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM known
        """,
        json_rows(_columns(group[0], len(group)) for group in groups),
        queued_for,
    )
    by_claim = {tuple(row)[2:]: row["id"] for row in rows if row["registered"]}
    by_payment = {row["imp_uid"]: row["id"] for row in rows if row["registered"] is False}
    found = {row["id"]: row["id"] for row in rows if row["registered"] is None}
    for group in groups:
        # A look at a repeated notice may be under way or over: those that came with it are recorded by themselves.
        if group[0].id not in found and (row := by_claim.get(_claim(group[0])) or by_payment.get(group[0].imp_uid)):
            found |= {notice.id: row for notice in group}
    return found


def _columns(notice: Notice, arrivals: int) -> tuple[object, ...]:
    return (
        str(notice.id), notice.source, notice.imp_uid, notice.merchant_uid, notice.tier, notice.claimed_status,
        notice.cancellation_id, notice.account, arrivals,
    )  # fmt: skip


# At most this many due notices of each lane are queued in one sweep: live work, what reconciliation found, and notices
# that name no registered order. The shares are those of the budget of calls (service/redis/budget.py).
SWEPT = {0: 1_000, 1: 300, 2: 100}


async def take_due(db: Connection, queued_for: timedelta, *, lane: int, limit: int) -> list[UUID]:
    """Move a bounded number of a lane's due notices on, so that each has one waker; return them to be queued."""
    rows = await db.fetch(
        """
        UPDATE notices SET due_at = now() + $3, claimed_until = NULL
        WHERE id = ANY(ARRAY(SELECT id FROM notices WHERE lane = $1 AND due_at <= now()
                               AND (claimed_until IS NULL OR claimed_until <= now())
                             ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED))
        RETURNING id
        """,
        lane,
        limit,
        queued_for,
    )
    return [row["id"] for row in rows]


# A notice that has been due for longer than this is starved: nobody may rely on its look.
_OVERDUE = timedelta(seconds=10)


async def record_differences(db: Connection, differences: Sequence[Notice]) -> list[UUID]:
    """Record what reconciliation found, unless a look at the payment is to come.

    Three kinds of open notices do not stand for the look that is wanted: one that is claimed may have been looked for
    before the difference arose, one that asks another store finds nothing of it, and one that is overdue may starve.
    Returns the new rows, due at once. OFFSET 0 keeps each lookup a lookup: joined, whole tables may be read for it.
    """
    rows = await db.fetch(
        """
        INSERT INTO notices (id, source, imp_uid, merchant_uid, account, tier, registered, due_at)
        SELECT g.id, g.source, g.imp_uid, g.merchant_uid, g.account, g.tier, true, now()
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
             AS g (id, source, imp_uid, merchant_uid, tier, account)
        WHERE NOT EXISTS (
            SELECT FROM notices n
                 LEFT JOIN LATERAL (SELECT * FROM payments WHERE imp_uid = n.imp_uid OFFSET 0) p ON true
                 LEFT JOIN LATERAL (SELECT * FROM orders WHERE merchant_uid = coalesce(p.merchant_uid, n.merchant_uid)
                                    OFFSET 0) o ON true
            WHERE n.imp_uid = g.imp_uid AND n.due_at > now() - $7::interval AND n.claimed_until IS NULL
              AND n.registered
              AND coalesce(o.account, p.account, n.account, 'default') = g.account
              AND coalesce(o.tier, p.tier, n.tier, '') = g.tier OFFSET 0)
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        [notice.id for notice in differences],
        [notice.source.value for notice in differences],
        [notice.imp_uid for notice in differences],
        [notice.merchant_uid for notice in differences],
        [notice.tier for notice in differences],
        [notice.account for notice in differences],
        _OVERDUE,
    )
    return [row["id"] for row in rows]


async def confirm(db: Connection, ids: Sequence[UUID]) -> None:
    """Return once these rows are as safe as a commit makes them: on the disk, and on a synchronous standby.

    A row can be seen before that, where the commit that wrote it was interrupted. Locking a row is a write, so this
    commit waits for all that came before it.
    """
    await db.execute("SELECT FROM notices WHERE id = ANY($1) FOR KEY SHARE", ids)


# What is parked for one of these reasons is looked for again once the reason is gone.
_WAITS_FOR_ORDER, _WAITS_FOR_STORE = Outcome.ORDER_NOT_REGISTERED.value, Outcome.STORE_NOT_CONFIGURED.value
_IN_ARCHIVE = Outcome.ORDER_ARCHIVED.value


async def replay_of_order(db: Connection, merchant_uid: str) -> None:
    """Make the order's parked notices due: it was registered just now. Raises asyncpg.SerializationError."""
    rows = await db.fetch(
        """
        SELECT id FROM notices WHERE merchant_uid = $1 AND parked_at IS NOT NULL AND last_outcome = $2
        UNION SELECT n.id FROM (SELECT imp_uid FROM payments
                                WHERE merchant_uid = $1 AND (status <> 'ready' OR lesser IS NOT NULL) OFFSET 0) p
                               JOIN notices n USING (imp_uid)
        WHERE n.parked_at IS NOT NULL AND n.last_outcome = $2
        LIMIT 100
        """,
        merchant_uid,
        _WAITS_FOR_ORDER,
    )
    if rows:
        await _replay(db, [row["id"] for row in rows])


async def _replay(db: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Make parked notices due, but for those that claim what an open one does; return those that are due now.

    Raises asyncpg.SerializationError where such a one was recorded at the same moment.
    """
    try:
        rows = await db.fetch(
            """
            UPDATE notices SET parked_at = NULL, due_at = now(), tries = 0
            WHERE parked_at IS NOT NULL AND id = ANY(ARRAY(
                SELECT DISTINCT ON (imp_uid, merchant_uid, source, claimed_status, (cancellation_id IS NOT NULL),
                                    account, tier) id
                FROM notices n
                WHERE id = ANY($1::uuid[]) AND (NOT registered OR NOT EXISTS (
                    SELECT FROM notices o
                    WHERE o.registered AND o.due_at IS NOT NULL AND o.replayed_at IS NULL
                      AND o.imp_uid = n.imp_uid AND o.source = n.source
                      AND o.merchant_uid IS NOT DISTINCT FROM n.merchant_uid
                      AND o.claimed_status IS NOT DISTINCT FROM n.claimed_status
                      AND (o.cancellation_id IS NOT NULL) = (n.cancellation_id IS NOT NULL)
                      AND o.account IS NOT DISTINCT FROM n.account AND o.tier IS NOT DISTINCT FROM n.tier))))
            RETURNING id
            """,
            ids,
        )
    except asyncpg.UniqueViolationError as error:
        raise asyncpg.SerializationError(str(error)) from None
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A slice of the parked notices: those that are due again, and where the next slice begins (None: at the start)."""

    ids: Sequence[UUID]
    next_after: datetime | None


async def replay_parked(db: Connection, after: datetime | None, stores: Sequence[Store], limit: int) -> Replayed:
    """Make notices due again that were parked for an order that is here, or a store that is configured, by now.

    Reads a bounded slice of the parked notices, those parked at `after` or later. Raises asyncpg.SerializationError.
    """
    rows = await db.fetch(
        """
        SELECT n.id, n.parked_at,
               n.last_outcome IN ($3, $7)
               AND EXISTS (SELECT FROM orders o WHERE o.merchant_uid = coalesce(
                   (SELECT p.merchant_uid FROM payments p WHERE p.imp_uid = n.imp_uid), n.merchant_uid))
               OR n.last_outcome = $4
               AND (coalesce(n.account, 'default'), coalesce(n.tier, ''))
                   IN (SELECT * FROM unnest($5::text[], $6::text[])) AS ready
        FROM (SELECT * FROM notices WHERE parked_at >= coalesce($1, '-infinity'::timestamptz)
              ORDER BY parked_at LIMIT $2) n
        """,
        after,
        limit,
        _WAITS_FOR_ORDER,
        _WAITS_FOR_STORE,
        [store.account for store in stores],
        [store.tier for store in stores],
        _IN_ARCHIVE,
    )
    ready = [row["id"] for row in rows if row["ready"]]
    last = max((row["parked_at"] for row in rows), default=None)
    return Replayed(await _replay(db, ready) if ready else [], last if len(rows) == limit else None)


async def prune(db: Connection, handled: timedelta, unregistered: timedelta, limit: int) -> int:
    """Delete a small batch of what ended long enough ago; return how many. Open notices are never deleted.

    What PortOne said of money stands in `payments`, which is not pruned. A notice's id is the time that it came
    (UUIDv7), so what is old stands first in the primary key.
    """
    done = await db.execute(
        """
        DELETE FROM notices WHERE id = ANY(
            ARRAY(SELECT id FROM notices WHERE id < $3::uuid AND handled_at < now() - $1::interval ORDER BY id LIMIT $4)
            || ARRAY(SELECT id FROM notices WHERE parked_at < now() - $1::interval ORDER BY parked_at LIMIT $4)
            || ARRAY(SELECT id FROM notices WHERE NOT registered AND due_at IS NULL
                       AND coalesce(handled_at, parked_at) < now() - $2::interval
                       AND (parked_at IS NULL OR last_outcome <> $5)  -- an archived order's is no stranger's
                     ORDER BY coalesce(handled_at, parked_at) LIMIT $4))
        """,
        handled,
        unregistered,
        first_id_since(handled),
        limit,
        _IN_ARCHIVE,
    )
    return int(done.split()[1])


async def looked(db: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the notices that a look of their own has handled."""
    rows = await db.fetch(
        "SELECT id FROM notices WHERE id = ANY($1::uuid[]) AND handled_at IS NOT NULL AND last_outcome = $2",
        ids,
        Outcome.LOOKED.value,
    )
    return {row["id"] for row in rows}
