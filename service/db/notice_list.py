"""The table `notices` for people: lists and a replay, for `portone-orders notices`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from service.db.pool import Connection
from service.domain.notice import Outcome
from service.domain.payment import Store
from service.notice_ids import time_of

# A person's page looks through this many of the open notices for those of an order.
_DUE_LOOKED_THROUGH = 2_000
# And this many of the parked ones for those of one kind.
_PARKED_LOOKED_THROUGH = 10_000
# And a person's command through this many by each of the ways to a notice.
_NAMED_LOOKED_THROUGH = 10_000
# So short a prefix names too many to be meant.
_PREFIX = re.compile(r"[0-9a-f][0-9a-f-]{3,35}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shown:
    """A notice as a person reads it, with its payment: as PortOne told it when the notice ended, and as stored now.

    `then` is None where the order's events do not say: it is open, or its order is not registered.
    """

    id: UUID
    source: str
    imp_uid: str
    merchant_uid: str | None
    account: str | None
    tier: str | None
    claimed_status: str | None
    received_at: datetime
    arrivals: int
    tries: int
    state: str
    last_outcome: str | None
    payment_status: str | None
    payment_amount: int | None
    payment_currency: str | None
    then_status: str | None
    then_amount: int | None
    then_cancelled_amount: int | None
    then_currency: str | None
    # When it was handled or parked.
    ended_at: datetime | None
    # When a person last made it due again.
    replayed_at: datetime | None

    @property
    def first_at(self) -> datetime:
        """The time of its first arrival. Notices of unregistered orders that share a row are as old as the first."""
        made_at = time_of(self.id)
        return min(made_at, self.received_at) if made_at else self.received_at


@dataclass(frozen=True, slots=True)
class Listed:
    """The first notices of a list, and how many it has in all."""

    notices: list[Shown]
    total: int


_SHOWN = """
    SELECT n.id, n.source, n.imp_uid, coalesce(p.merchant_uid, n.merchant_uid) AS merchant_uid, n.account, n.tier,
           n.claimed_status, n.received_at, n.arrivals, n.tries, n.last_outcome,
           CASE WHEN n.parked_at IS NOT NULL THEN 'parked' WHEN n.handled_at IS NOT NULL THEN 'handled' ELSE 'open' END
             AS state,
           p.status AS payment_status, p.amount AS payment_amount, p.currency AS payment_currency,
           f.then->>'status' AS then_status, (f.then->>'amount')::bigint AS then_amount,
           (f.then->>'cancelled_amount')::bigint AS then_cancelled_amount, f.then->>'currency' AS then_currency,
           coalesce(n.handled_at, n.parked_at) AS ended_at, n.replayed_at
    FROM notices n LEFT JOIN LATERAL (SELECT * FROM payments WHERE imp_uid = n.imp_uid OFFSET 0) p ON true
         LEFT JOIN LATERAL (
             SELECT fact AS then FROM order_events e CROSS JOIN LATERAL jsonb_array_elements(e.facts) AS fact
             WHERE e.merchant_uid = p.merchant_uid AND fact->>'imp_uid' = n.imp_uid
               AND e.at <= coalesce(n.handled_at, n.parked_at)
             ORDER BY e.version DESC LIMIT 1) f ON true
"""
# Each way by an index. Of what is open each row is read, in every lane: few, whatever the table has.
_ABOUT = """
    SELECT id FROM (SELECT id FROM notices WHERE imp_uid = $1 LIMIT $4) of_payment
    UNION SELECT id FROM (SELECT id FROM notices WHERE id BETWEEN $2 AND $3 ORDER BY id DESC LIMIT $4) of_id
    UNION SELECT n.id
    FROM (SELECT imp_uid FROM payments WHERE merchant_uid = $1 AND (status <> 'ready' OR lesser IS NOT NULL)
          UNION ALL SELECT imp_uid FROM payments WHERE merchant_uid = $1 AND status = 'ready' AND lesser IS NULL) p
         CROSS JOIN LATERAL (SELECT id FROM notices WHERE imp_uid = p.imp_uid LIMIT $4) n
    UNION SELECT id FROM (SELECT id FROM notices WHERE merchant_uid = $1 AND parked_at IS NOT NULL LIMIT $4) parked
    UNION SELECT id FROM (SELECT id FROM notices
                          WHERE lane = ANY('{0,1,2}') AND due_at IS NOT NULL AND merchant_uid = $1 LIMIT $4) due
    ORDER BY id DESC
"""
_NEXT_DUE = """
    WHERE n.id = ANY(ARRAY(
        SELECT d.id FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS l (lane) CROSS JOIN LATERAL (
            SELECT id FROM notices WHERE lane = l.lane AND due_at IS NOT NULL ORDER BY due_at LIMIT $1) d))
    ORDER BY n.lane, n.due_at LIMIT $1
"""
_AFTER = " AND n.parked_at >= $1 AND (n.parked_at, n.id) > ($1, $2) ORDER BY n.parked_at, n.id LIMIT $3"
_PARKED_UNREGISTERED = """
    WHERE n.id = ANY(ARRAY(SELECT id FROM (
        SELECT id, parked_at, last_outcome FROM notices
        WHERE parked_at IS NOT NULL AND parked_at >= $1 AND (parked_at, id) > ($1, $2)
        ORDER BY parked_at, id LIMIT $4) p
        WHERE last_outcome = 'order_not_registered' ORDER BY parked_at, id LIMIT $3))
    ORDER BY n.parked_at, n.id
"""
_KNOWN_BY = """
    WHERE n.id = ANY(ARRAY(
        SELECT id FROM (SELECT id FROM notices WHERE imp_uid = $1 LIMIT $5) of_payment
        UNION SELECT id FROM (SELECT id FROM notices WHERE id BETWEEN $2 AND $3 ORDER BY id DESC LIMIT $4) of_id))
    ORDER BY n.id DESC LIMIT $4
"""
_OF_ORDER = """
    WHERE n.id = ANY(ARRAY(
        SELECT id FROM unnest($2::text[]) AS p (imp_uid) CROSS JOIN LATERAL (
            SELECT id FROM (SELECT id FROM notices WHERE imp_uid = p.imp_uid LIMIT $4) of_payment
            ORDER BY id DESC LIMIT $3) x
        UNION SELECT id FROM (SELECT id FROM notices WHERE merchant_uid = $1 AND parked_at IS NOT NULL LIMIT $3) x
        UNION SELECT d.id FROM unnest(ARRAY[0, 1, 2]::smallint[]) AS l (lane) CROSS JOIN LATERAL (
            SELECT id, merchant_uid FROM notices WHERE lane = l.lane AND due_at IS NOT NULL ORDER BY due_at LIMIT $4) d
        WHERE d.merchant_uid = $1))
    ORDER BY n.id DESC LIMIT $3
"""


async def parked(db: Connection, limit: int) -> Listed:
    """Return the notices that wait for a person, the longest parked first."""
    rows = await db.fetch(_SHOWN + "WHERE n.parked_at IS NOT NULL ORDER BY n.parked_at LIMIT $1", limit)
    total = await db.fetchval("SELECT count(*) FROM notices WHERE parked_at IS NOT NULL")
    return Listed([Shown(**row) for row in rows], total)


async def one(db: Connection, notice_id: UUID) -> Shown | None:
    """Return a notice, or None."""
    row = await db.fetchrow(_SHOWN + "WHERE n.id = $1", notice_id)
    return Shown(**row) if row else None


async def parked_after(db: Connection, after: tuple[datetime, UUID] | None, limit: int) -> list[Shown]:
    """Return the parked notices that were parked after this one, the longest parked first; None: from the first."""
    rows = await db.fetch(_SHOWN + "WHERE n.parked_at IS NOT NULL" + _AFTER, *_place(after), limit)
    return [Shown(**row) for row in rows]


async def own_parked_after(db: Connection, after: tuple[datetime, UUID] | None, limit: int) -> list[Shown]:
    """Return those of them that the promise counts: they do not only wait for an order that nobody registered."""
    rows = await db.fetch(
        _SHOWN + "WHERE n.parked_at IS NOT NULL AND n.last_outcome <> 'order_not_registered'" + _AFTER,
        *_place(after),
        limit,
    )
    return [Shown(**row) for row in rows]


async def unregistered_parked_after(db: Connection, after: tuple[datetime, UUID] | None, limit: int) -> list[Shown]:
    """Return the others, which wait for an order that nobody registered, of the next parked notices."""
    rows = await db.fetch(_SHOWN + _PARKED_UNREGISTERED, *_place(after), limit, _PARKED_LOOKED_THROUGH)
    return [Shown(**row) for row in rows]


def _place(after: tuple[datetime, UUID] | None) -> tuple[datetime, UUID]:
    return after or (datetime.min.replace(tzinfo=UTC), UUID(int=0))


async def known_by(db: Connection, name: str, limit: int) -> list[Shown]:
    """Return the newest notices of this imp_uid, or whose id begins so, each found by an index."""
    rows = await db.fetch(_SHOWN + _KNOWN_BY, name, *_id_range(name), limit, _DUE_LOOKED_THROUGH)
    return [Shown(**row) for row in rows]


async def next_due(db: Connection, limit: int) -> list[Shown]:
    """Return the open notices of each lane that are due next."""
    rows = await db.fetch(_SHOWN + _NEXT_DUE, limit)
    return [Shown(**row) for row in rows]


async def of_order(db: Connection, merchant_uid: str, imp_uids: Sequence[str], limit: int) -> list[Shown]:
    """Return the newest notices about these payments, and those that wait or are parked and name the order.

    Of open notices of other payments only those are found that are among the next due ones: there is no index on their
    order, which would cost every notice a write.
    """
    rows = await db.fetch(
        _SHOWN + _OF_ORDER,
        merchant_uid,
        list(imp_uids),
        limit,
        _DUE_LOOKED_THROUGH,
    )
    return [Shown(**row) for row in rows]


async def waiting(db: Connection, limit: int) -> Listed:
    """Return the notices that are still open, the next due first."""
    rows = await db.fetch(_SHOWN + "WHERE n.due_at IS NOT NULL ORDER BY n.due_at LIMIT $1", limit)
    total = await db.fetchval("SELECT count(*) FROM notices WHERE due_at IS NOT NULL")
    return Listed([Shown(**row) for row in rows], total)


async def count_by_store(db: Connection) -> dict[Store, int]:
    """Return how many open or parked notices there are of each account and tier that a notice names."""
    rows = await db.fetch(
        """
        SELECT coalesce(account, 'default') AS account, coalesce(tier, '') AS tier, count(*)
        FROM notices WHERE due_at IS NOT NULL OR parked_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
        """
    )
    return {Store(row["account"], row["tier"]): row["count"] for row in rows}


async def about(db: Connection, name: str, limit: int) -> Listed:
    """Return the notices of this imp_uid or order, or whose id begins so, the newest first.

    An order's notices are those of its payments, and what is open or parked and names it. A handled one of a payment
    that is not the order's has no index by which to find it, because every notice would pay for that with a write.
    """
    named = await db.fetch(_ABOUT, name, *_id_range(name), _NAMED_LOOKED_THROUGH)
    if not named:
        return Listed([], 0)
    newest = [row["id"] for row in named[:limit]]
    rows = await db.fetch(_SHOWN + "WHERE n.id = ANY($1::uuid[]) ORDER BY n.received_at DESC, n.id DESC", newest)
    return Listed([Shown(**row) for row in rows], len(named))


async def ids_of(db: Connection, name: str) -> list[UUID]:
    """Return the ids of the notices whose id begins so, at most two: only one can be meant."""
    rows = await db.fetch("SELECT id FROM notices WHERE id BETWEEN $1 AND $2 LIMIT 2", *_id_range(name))
    return [row["id"] for row in rows]


def _id_range(name: str) -> tuple[UUID | None, UUID | None]:
    """Return the lowest and the highest id that begin with this text; None twice if none can."""
    digits = name.replace("-", "").lower()
    if not _PREFIX.fullmatch(name) or len(digits) > 32:
        return None, None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


async def replay(db: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Make these notices due now, as if they had just come; return those that exist.

    When each came and what it claimed stay as they are, for people. PortOne is asked whatever is stored.
    """
    rows = await db.fetch(
        """
        UPDATE notices SET due_at = now(), claimed_until = NULL, tries = 0, replayed_at = now(), last_outcome = NULL,
               handled_at = NULL, parked_at = NULL
        WHERE id = ANY($1::uuid[]) RETURNING id
        """,
        ids,
    )
    return [row["id"] for row in rows]


async def parked_of_store(db: Connection, store: Store, limit: int) -> list[UUID]:
    """Return the notices that are parked because this store is in no setting, the longest parked first."""
    # The first condition on the outcome is the index's, and follows from the second.
    rows = await db.fetch(
        """
        SELECT id FROM notices
        WHERE parked_at IS NOT NULL AND last_outcome <> 'order_not_registered' AND last_outcome = $3
          AND coalesce(account, 'default') = $1 AND coalesce(tier, '') = $2
        ORDER BY parked_at LIMIT $4
        """,
        store.account,
        store.tier,
        Outcome.STORE_NOT_CONFIGURED,
        limit,
    )
    return [row["id"] for row in rows]


async def dismiss(db: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """End those of the notices that are parked without a look; return them."""
    rows = await db.fetch(
        """
        UPDATE notices SET parked_at = NULL, handled_at = now(), last_outcome = $2
        WHERE id = ANY($1::uuid[]) AND parked_at IS NOT NULL RETURNING id
        """,
        ids,
        Outcome.DISMISSED,
    )
    return [row["id"] for row in rows]
