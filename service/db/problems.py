"""Problems for people to see, and their resolutions: those of our own orders, and apart money of unregistered orders.

What counts as open is defined once, in the database functions `open_problems_v1` and `unregistered_money_v1`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.db.pool import Connection
from service.domain.ownership import Ours

# Seconds since 1970 that Postgres and Python both take.
_LAST_SECOND = 253402300799


@dataclass(frozen=True, slots=True)
class OpenProblem:
    """A problem and what a person needs to decide: the payment as stored, its refund, and the latest resolution.

    `held` is the money that PortOne holds for the payment, as last seen. `odd` has the fields that could not be read of
    an unreadable payment, with PortOne's values. `merchant_uid` is None if the payment names no order.
    """

    kind: str
    merchant_uid: str | None
    imp_uid: str
    resolved: bool
    status: str | None
    amount: int | None
    cancelled_amount: int | None
    held: int | None
    currency: str | None
    live: bool | None
    odd: Mapping[str, str] | None
    refund_state: str | None
    refund_amount: int | None
    refund_who: str | None
    refund_why: str | None
    refund_at: datetime | None
    refund_note: str | None
    refund_due_at: datetime | None
    resolved_at: datetime | None
    resolved_who: str | None
    resolved_why: str | None


_SHOWN = """
    SELECT x.kind, x.merchant_uid, x.imp_uid, x.resolved, p.status, coalesce(p.amount, u.amount) AS amount,
           p.cancelled_amount,
           CASE WHEN p.status = 'paid' OR p.status = 'cancelled' AND p.cancelled_amount > 0
                THEN p.amount - p.cancelled_amount WHEN p.status IS NOT NULL THEN 0 END AS held,
           coalesce(p.currency, u.currency) AS currency, coalesce(p.live, u.live) AS live, u.odd,
           r.state AS refund_state, r.amount AS refund_amount, r.who AS refund_who, r.why AS refund_why,
           r.intended_at AS refund_at, coalesce(r.hold_reason, r.answer_text) AS refund_note,
           r.due_at AS refund_due_at,
           s.at AS resolved_at, s.who AS resolved_who, s.why AS resolved_why
"""
_JOINED = """
    LEFT JOIN LATERAL (SELECT * FROM payments WHERE imp_uid = x.imp_uid OFFSET 0) p ON true
    LEFT JOIN LATERAL (SELECT * FROM unreadable_payments
                       WHERE imp_uid = x.imp_uid AND x.kind = 'unreadable_payment' OFFSET 0) u ON true
    LEFT JOIN LATERAL (SELECT * FROM refunds WHERE imp_uid = x.imp_uid OFFSET 0) r ON true
    LEFT JOIN LATERAL (SELECT at, who, why FROM resolutions y WHERE y.imp_uid = x.imp_uid AND y.kind = x.kind
                       ORDER BY y.at DESC LIMIT 1) AS s ON true
"""
_OF_ORDERS = _SHOWN + "FROM open_problems_v1() x" + _JOINED
_UNREGISTERED = _SHOWN + "FROM unregistered_money_v1($1, $2) x" + _JOINED


async def of_orders(db: Connection, limit: int, *, resolved: bool = False) -> list[OpenProblem]:
    """Return the open problems of our own orders, or also those that are resolved."""
    rows = await db.fetch(
        _OF_ORDERS + "WHERE NOT x.resolved OR $2 ORDER BY x.merchant_uid, x.imp_uid, x.kind LIMIT $1", limit, resolved
    )
    return [OpenProblem(**dict(row)) for row in rows]


async def of_numbers(db: Connection, merchant_uids: Sequence[str], *, resolved: bool = False) -> list[OpenProblem]:
    """Return the open problems of these orders, sorted, or also those that are resolved."""
    rows = await db.fetch(
        _OF_ORDERS
        + "WHERE x.merchant_uid = ANY($1::text[]) AND (NOT x.resolved OR $2)"
        + " ORDER BY x.merchant_uid, x.imp_uid, x.kind",
        list(merchant_uids),
        resolved,
    )
    return [OpenProblem(**dict(row)) for row in rows]


async def without_number(db: Connection, limit: int) -> list[OpenProblem]:
    """Return the open problems of payments that name no order that can be read."""
    rows = await db.fetch(
        _OF_ORDERS + "WHERE x.merchant_uid IS NULL AND NOT x.resolved ORDER BY x.imp_uid LIMIT $1", limit
    )
    return [OpenProblem(**dict(row)) for row in rows]


async def of_payment(db: Connection, imp_uid: str) -> list[OpenProblem]:
    """Return a payment's open problems: those of its order, or that it has none."""
    rows = await db.fetch(_OF_ORDERS + "WHERE x.imp_uid = $1 AND NOT x.resolved ORDER BY x.kind", imp_uid)
    foreign = await db.fetch(
        _UNREGISTERED + "WHERE x.imp_uid = $3 AND NOT x.resolved ORDER BY x.kind", *_ours(Ours()), imp_uid
    )
    return [OpenProblem(**dict(row)) for row in (*rows, *foreign)]


async def unregistered_of(db: Connection, imp_uids: Sequence[str]) -> list[OpenProblem]:
    """Return the money of these payments whose orders nobody registered, also what is resolved."""
    rows = await db.fetch(
        _UNREGISTERED + "WHERE x.imp_uid = ANY($3::text[]) ORDER BY x.imp_uid", *_ours(Ours()), list(imp_uids)
    )
    return [OpenProblem(**dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the money of unregistered orders: its size, the imp_uid that it follows, and what it is narrowed to."""

    limit: int
    after: str = ""
    number: str = ""
    since: datetime | None = None


async def unregistered(db: Connection, ours: Ours, page: Page, *, resolved: bool = False) -> list[OpenProblem]:
    """Return a page of the money of orders that nobody registered, sorted by imp_uid, as far as it can be ours."""
    rows = await db.fetch(
        _UNREGISTERED
        + """
        WHERE x.imp_uid > $3 AND starts_with(x.merchant_uid, $4) AND ($5::timestamptz IS NULL OR x.started_at >= $5)
          AND (NOT x.resolved OR $6)
        ORDER BY x.imp_uid LIMIT $7
        """,
        *_ours(ours),
        page.after,
        page.number,
        page.since,
        resolved,
        page.limit,
    )
    return [OpenProblem(**dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of our own orders' open problems, and of payments that hold money of unregistered orders."""

    open_problems: int
    unregistered_payments: int


async def count(db: Connection, ours: Ours, counted_max: int) -> Counts:
    """Count what is open, each up to `counted_max`."""
    row = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM (SELECT FROM open_problems_v1() WHERE NOT resolved LIMIT $3) AS a)
                   AS open_problems,
               (SELECT count(*) FROM (SELECT FROM unregistered_money_v1($1, $2) WHERE NOT resolved LIMIT $3) AS b)
                   AS unregistered_payments
        """,
        *_ours(ours),
        counted_max,
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return Counts(**dict(row))


async def foreign(db: Connection, rows: Sequence[tuple[str, str, object]], ours: Ours) -> set[str]:
    """Return those of the payments (imp_uid, merchant_uid, V1's time of their beginning) that cannot be ours."""
    found = await db.fetch(
        """
        SELECT g.imp_uid FROM unnest($3::text[], $4::text[], $5::timestamptz[]) AS g (imp_uid, merchant_uid, started_at)
        WHERE NOT can_be_ours_v1(g.merchant_uid, g.started_at, $1, $2)
          AND NOT EXISTS (SELECT FROM orders o WHERE o.merchant_uid = g.merchant_uid)
        """,
        *_ours(ours),
        [imp_uid for imp_uid, _, _ in rows],
        [merchant_uid for _, merchant_uid, _ in rows],
        [_time(started_at) for _, _, started_at in rows],
    )
    return {row["imp_uid"] for row in found}


def _ours(ours: Ours) -> tuple[list[str], datetime | None]:
    return list(ours.prefixes), ours.since


def _time(seconds: object) -> datetime | None:
    if type(seconds) is not int or not 0 < seconds <= _LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


async def resolve(db: Connection, problems: Sequence[OpenProblem], who: str, why: str) -> None:
    """Record that a person has resolved these problems."""
    await db.execute(
        """
        INSERT INTO resolutions (merchant_uid, imp_uid, kind, who, why)
        SELECT m, i, k, $4, $5 FROM unnest($1::text[], $2::text[], $3::text[]) AS g (m, i, k)
        """,
        [problem.merchant_uid or "" for problem in problems],
        [problem.imp_uid for problem in problems],
        [problem.kind for problem in problems],
        who,
        why,
    )
