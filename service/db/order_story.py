"""The story of an order, read across tables: its payments, refunds, resolutions, deliveries, and what still waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.db.pool import Connection

# One of an order's last versions is the last that a look led to.
_VERSIONS_LOOKED_THROUGH = 50


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payment of the order, and who gave the first notice of it that is still stored."""

    imp_uid: str
    status: str
    amount: int
    currency: str
    cancelled_amount: int
    live: bool
    tier: str
    first_source: str | None
    first_at: datetime | None


@dataclass(frozen=True, slots=True)
class WaitingNotice:
    """A notice about the order that is due or parked."""

    id: UUID
    source: str
    imp_uid: str | None
    received_at: datetime
    tries: int
    outcome: str | None
    parked: bool


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A payment of the order that counts, as PortOne was last seen to tell it."""

    imp_uid: str
    status: str
    amount: int
    currency: str
    cancelled_amount: int
    account: str
    tier: str
    live: bool
    paid_at: datetime | None
    seen_at: datetime
    details: Mapping[str, Any]

    @property
    def held(self) -> int:
        """The money that PortOne holds for it now."""
        holds = self.status == "paid" or (self.status == "cancelled" and self.cancelled_amount > 0)
        return self.amount - self.cancelled_amount if holds else 0


@dataclass(frozen=True, slots=True)
class ShownMove:
    """A move of a refund: to which state, when, by whom and why."""

    imp_uid: str
    round: int
    state: str
    at: datetime
    who: str
    why: str
    amount: int | None
    currency: str | None
    answer: str | None
    hold_reason: str | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownResolution:
    """A person's word that a problem stays as it is."""

    imp_uid: str
    kind: str
    at: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class OrderAttempt:
    """An attempt to tell an endpoint of a change of the order; `version` is the change's."""

    endpoint: str
    event_id: int
    version: int | None
    at: datetime
    status: int | None
    seconds: float
    failure: str | None


async def payments(db: Connection, merchant_uid: str, limit: int) -> list[StoredPayment]:
    """Return the order's payments that count, the newest first. Windows that were only opened are left out."""
    rows = await db.fetch(
        """
        SELECT imp_uid, status, amount, currency, cancelled_amount, account, tier, live, paid_at, seen_at, details
        FROM payments WHERE merchant_uid = $1 AND (status <> 'ready' OR lesser IS NOT NULL)
        ORDER BY coalesce(paid_at, started_at) DESC NULLS LAST, imp_uid LIMIT $2
        """,
        merchant_uid,
        limit,
    )
    return [StoredPayment(**row) for row in rows]


async def last_asked_at(db: Connection, merchant_uid: str, imp_uids: Sequence[str]) -> datetime | None:
    """Return when PortOne was last asked, and answered, about the order or these payments, as far as it is known.

    A look that brought nothing new is known by its notice (`service/db/notice_list.py`).
    """
    at: datetime | None = await db.fetchval(
        """
        SELECT greatest(
            (SELECT began_at FROM searches WHERE merchant_uid = $1 AND last_outcome = 'looked'),
            (SELECT asked_at FROM order_checks WHERE merchant_uid = $1),
            (SELECT max(coalesce(looked_at, CASE WHEN cause = 'expiry' THEN at END)) FROM (
                SELECT looked_at, cause, at FROM order_events WHERE merchant_uid = $1
                ORDER BY version DESC LIMIT $3) e),
            (SELECT max(s.seen_at) FROM unnest($2::text[]) AS p (imp_uid) CROSS JOIN LATERAL (
                SELECT seen_at FROM payments WHERE imp_uid = p.imp_uid OFFSET 0) s))
        """,
        merchant_uid,
        list(imp_uids),
        _VERSIONS_LOOKED_THROUGH,
    )
    return at


async def refund_moves(db: Connection, imp_uids: Sequence[str], limit: int) -> list[ShownMove]:
    """Return every move of these payments' refunds, the newest first, with the refund as it stands."""
    rows = await db.fetch(
        """
        SELECT m.imp_uid, m.round, m.state, m.at, m.who, m.why, r.amount, r.currency, r.answer,
               CASE WHEN r.round = m.round AND r.state = m.state THEN r.hold_reason END AS hold_reason,
               CASE WHEN r.round = m.round AND r.state = m.state THEN r.due_at END AS due_at
        FROM refund_moves m CROSS JOIN LATERAL (SELECT * FROM refunds WHERE imp_uid = m.imp_uid OFFSET 0) r
        WHERE m.imp_uid = ANY($1::text[]) ORDER BY m.at DESC, m.id DESC LIMIT $2
        """,
        list(imp_uids),
        limit,
    )
    return [ShownMove(**row) for row in rows]


async def resolutions(db: Connection, imp_uids: Sequence[str], limit: int) -> list[ShownResolution]:
    """Return the resolutions of these payments' problems, the newest first."""
    rows = await db.fetch(
        """
        SELECT imp_uid, kind, at, who, why FROM resolutions WHERE imp_uid = ANY($1::text[])
        ORDER BY at DESC, id DESC LIMIT $2
        """,
        list(imp_uids),
        limit,
    )
    return [ShownResolution(**row) for row in rows]


async def deliveries(db: Connection, merchant_uid: str, limit: int) -> list[OrderAttempt]:
    """Return the newest attempts to tell endpoints of the order's changes, the newest first."""
    rows = await db.fetch(
        """
        SELECT a.endpoint, a.event_id, e.version, a.at, a.status, a.seconds, a.failure
        FROM delivery_attempts a
             LEFT JOIN LATERAL (SELECT version FROM order_events WHERE id = a.event_id OFFSET 0) e ON true
        WHERE a.merchant_uid = $1 ORDER BY a.id DESC LIMIT $2
        """,
        merchant_uid,
        limit,
    )
    return [OrderAttempt(**row) for row in rows]


async def attempts(db: Connection, merchant_uid: str) -> list[Attempt]:
    """Return the order's payments, the oldest first."""
    rows = await db.fetch(
        """
        SELECT p.imp_uid, p.status, p.amount, p.currency, p.cancelled_amount, p.live, p.tier,
               n.source AS first_source, n.received_at AS first_at
        FROM (SELECT * FROM payments WHERE merchant_uid = $1 AND (status <> 'ready' OR lesser IS NOT NULL)
              UNION ALL SELECT * FROM payments WHERE merchant_uid = $1 AND status = 'ready' AND lesser IS NULL) p
             LEFT JOIN LATERAL (
                 SELECT source, received_at FROM (SELECT * FROM notices WHERE imp_uid = p.imp_uid OFFSET 0) of_payment
                 ORDER BY id LIMIT 1) n ON true
        ORDER BY p.started_at, p.imp_uid
        """,
        merchant_uid,
    )
    return [Attempt(**row) for row in rows]


async def waiting(db: Connection, merchant_uid: str, limit: int) -> list[WaitingNotice]:
    """Return the notices about the order, or about its payments, that have not been handled, the oldest first."""
    rows = await db.fetch(
        """
        SELECT id, source, imp_uid, received_at, tries, last_outcome AS outcome, parked_at IS NOT NULL AS parked
        FROM notices WHERE id = ANY(ARRAY(
            SELECT n.id
            FROM (SELECT imp_uid FROM payments WHERE merchant_uid = $1 AND (status <> 'ready' OR lesser IS NOT NULL)
                  UNION ALL
                  SELECT imp_uid FROM payments WHERE merchant_uid = $1 AND status = 'ready' AND lesser IS NULL) p
                 CROSS JOIN LATERAL (SELECT id FROM notices WHERE imp_uid = p.imp_uid AND handled_at IS NULL OFFSET 0) n
            UNION SELECT id FROM notices WHERE merchant_uid = $1 AND parked_at IS NOT NULL
            UNION SELECT id FROM (
                SELECT id FROM notices
                WHERE lane = ANY('{0,1,2}') AND due_at IS NOT NULL AND merchant_uid = $1 OFFSET 0) due))
        ORDER BY id LIMIT $2
        """,
        merchant_uid,
        limit,
    )
    return [WaitingNotice(**row) for row in rows]
