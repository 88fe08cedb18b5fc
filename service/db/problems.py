"""Problems for people to see: those of orders, money without a registered order, and the resolutions of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class OpenProblem:
    """A problem, its refund if there is one, and its latest resolution by a person."""

    kind: str
    merchant_uid: str
    imp_uid: str
    held: int | None
    currency: str | None
    refund_state: str | None
    refund_note: str | None
    resolved_at: datetime | None
    resolved_who: str | None
    resolved_why: str | None


async def open_problems(db: Connection, limit: int, imp_uid: str | None = None) -> list[OpenProblem]:
    """Return the open problems of a payment, or of all. `held` is the money that PortOne holds for it, as last seen."""
    rows = await db.fetch(
        """
        WITH open AS (
            SELECT p.kind, o.merchant_uid, p.imp_uid
            FROM orders o CROSS JOIN LATERAL jsonb_to_recordset(o.problems) AS p (kind text, imp_uid text)
            WHERE o.problems <> '[]'::jsonb
            UNION ALL
            SELECT 'unknown_order', p.merchant_uid, p.imp_uid FROM payments p
            WHERE p.live AND (p.status = 'paid' OR p.status = 'cancelled' AND p.cancelled_amount > 0)
              AND p.amount > p.cancelled_amount
              AND NOT EXISTS (SELECT FROM orders o WHERE o.merchant_uid = p.merchant_uid)
        )
        SELECT open.*, p.currency, CASE WHEN p.status = 'paid' OR p.status = 'cancelled' AND p.cancelled_amount > 0
                                        THEN p.amount - p.cancelled_amount ELSE 0 END AS held,
               r.state AS refund_state, coalesce(r.hold_reason, r.answer_text, r.why) AS refund_note,
               s.at AS resolved_at, s.who AS resolved_who, s.why AS resolved_why
        FROM open LEFT JOIN payments p USING (imp_uid) LEFT JOIN refunds r USING (imp_uid)
             LEFT JOIN LATERAL (SELECT at, who, why FROM resolutions x
                                WHERE x.imp_uid = open.imp_uid AND x.kind = open.kind
                                ORDER BY x.at DESC LIMIT 1) AS s ON true
        WHERE $1::text IS NULL OR open.imp_uid = $1
        ORDER BY open.merchant_uid, open.imp_uid, open.kind LIMIT $2
        """,
        imp_uid,
        limit,
    )
    return [OpenProblem(**dict(row)) for row in rows]


async def resolve(db: Connection, problems: Sequence[OpenProblem], who: str, why: str) -> None:
    """Record that a person has resolved these problems."""
    await db.execute(
        """
        INSERT INTO resolutions (merchant_uid, imp_uid, kind, who, why)
        SELECT m, i, k, $4, $5 FROM unnest($1::text[], $2::text[], $3::text[]) AS g (m, i, k)
        """,
        [problem.merchant_uid for problem in problems],
        [problem.imp_uid for problem in problems],
        [problem.kind for problem in problems],
        who,
        why,
    )
