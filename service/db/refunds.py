"""The tables `refunds` and `refund_moves`: each refund, and each of its moves from state to state.

Every move is a compare-and-set on state and round, in one statement with its row of `refund_moves`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from service.db.pool import Connection
from service.domain.order import ProblemKind
from service.domain.payment import Payment
from service.domain.refund import Asked, CancelResult, RefundState

# A database has one namespace of advisory locks: 1 is for payments', 2 for orders'.
_HOURLY_CAP = 3

# Counting the refunds of a state ends here.
_STATE_COUNTED_MAX = 10_000

# Who moves a refund when no person does.
MACHINE = "portone-orders"


@dataclass(frozen=True, slots=True)
class Origin:
    """The person or machine that wants a refund, and why."""

    who: str
    why: str
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class Refund:
    """A row as stored. `age` is the time since it was asked for, by Postgres' clock."""

    imp_uid: str
    merchant_uid: str
    round: int
    state: RefundState
    kinds: tuple[ProblemKind, ...]
    found_at: datetime
    due_at: datetime | None
    origin: Origin
    amount: int | None
    cancellations_before: int | None
    answer: CancelResult | None
    age: timedelta | None

    @property
    def asked(self) -> Asked:
        """The refund as it was asked for. Raises ValueError if it was not."""
        if self.amount is None or self.cancellations_before is None or self.age is None:
            raise ValueError(f"{self.imp_uid} was not asked for")
        refused = self.answer is CancelResult.REFUSED
        return Asked(self.imp_uid, self.amount, self.cancellations_before, refused, self.age)


async def candidates(
    db: Connection, kinds: Sequence[ProblemKind], after: tuple[str, str], limit: int
) -> list[tuple[str, str]]:
    """Return the next payments (merchant_uid, imp_uid) with such a problem and without a refund, sorted."""
    rows = await db.fetch(
        """
        SELECT DISTINCT o.merchant_uid, p.imp_uid
        FROM orders o CROSS JOIN LATERAL jsonb_to_recordset(o.problems) AS p (kind text, imp_uid text)
        WHERE o.problems <> '[]'::jsonb AND p.kind = ANY($1::text[]) AND (o.merchant_uid, p.imp_uid) > ($2, $3)
          AND NOT EXISTS (SELECT FROM refunds r WHERE r.imp_uid = p.imp_uid AND r.state <> 'withdrawn')
        ORDER BY o.merchant_uid, p.imp_uid LIMIT $4
        """,
        kinds,
        *after,
        limit,
    )
    return [(row["merchant_uid"], row["imp_uid"]) for row in rows]


async def found_at(db: Connection, merchant_uid: str, imp_uid: str, kinds: Sequence[ProblemKind]) -> datetime:
    """Return since when the order's events have shown all of these problems without a break."""
    at: datetime = await db.fetchval(
        """
        SELECT coalesce(max(since), now()) FROM (
            SELECT (SELECT min(e.at) FROM order_events e
                     WHERE e.merchant_uid = $1 AND e.version > coalesce((
                           SELECT max(b.version) FROM order_events b
                            WHERE b.merchant_uid = $1 AND NOT b.problems @> f.finding), 0)) AS since
            FROM (SELECT jsonb_build_array(jsonb_build_object('kind', k, 'imp_uid', $2::text)) AS finding
                    FROM unnest($3::text[]) AS k) AS f) AS each
        """,
        merchant_uid,
        imp_uid,
        kinds,
    )
    return at


async def count_open(db: Connection) -> dict[str, int]:
    """Return how many refunds have not ended well, by state. Each is counted up to 10,000, by a partial index."""
    row = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM (SELECT FROM refunds WHERE due_at IS NOT NULL AND state = 'intended' LIMIT $1) r)
                   AS intended,
               (SELECT count(*) FROM (SELECT FROM refunds WHERE due_at IS NOT NULL AND state = 'asked' LIMIT $1) r)
                   AS asked,
               (SELECT count(*) FROM (SELECT FROM refunds WHERE state = 'refund_unknown' LIMIT $1) r)
                   AS refund_unknown
        """,
        _STATE_COUNTED_MAX,
    )
    return dict(row or {})


async def resolved_since(db: Connection, imp_uid: str, kinds: Sequence[ProblemKind], at: datetime) -> bool:
    """Return whether a person has resolved any of these problems since they were found."""
    resolved: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM resolutions WHERE imp_uid = $1 AND kind = ANY($2::text[]) AND at >= $3)",
        imp_uid,
        kinds,
        at,
    )
    return resolved


async def intend(
    db: Connection, imp_uid: str, merchant_uid: str, kinds: Sequence[ProblemKind], since: datetime, origin: Origin,
    wait: timedelta,
) -> bool:  # fmt: skip
    """Record an intent, and return whether it was recorded. The caller holds the order's lock.

    A new round may follow a withdrawn refund and, if a person wants it, a refused or an intended one.
    """
    command_tag = await db.execute(
        """
        WITH moved AS (
            INSERT INTO refunds AS r (imp_uid, merchant_uid, state, kinds, found_at, who, why, by_person, due_at)
            VALUES ($1, $2, 'intended', $3::text[], $4, $5, $6, $7, $4::timestamptz + $8::interval)
            ON CONFLICT (imp_uid) DO UPDATE SET
                state = 'intended', round = r.round + 1, kinds = excluded.kinds, found_at = excluded.found_at,
                who = excluded.who, why = excluded.why, by_person = excluded.by_person, due_at = excluded.due_at,
                intended_at = now(), hold_reason = NULL, asked_at = NULL, ticket = NULL, amount = NULL, currency = NULL,
                cancellations_before = NULL, answer = NULL, answer_text = NULL, ended_at = NULL
            WHERE r.state = 'withdrawn' OR ($7 AND r.state IN ('refused', 'intended'))
            RETURNING r.imp_uid, r.round, r.state
        )
        INSERT INTO refund_moves (imp_uid, round, state, who, why) SELECT imp_uid, round, state, $5, $6 FROM moved
        """,
        imp_uid,
        merchant_uid,
        kinds,
        since,
        origin.who,
        origin.why,
        origin.by_person,
        wait,
    )
    return command_tag == "INSERT 0 1"


async def take_due(db: Connection, state: RefundState, limit: int, lease: timedelta) -> list[Refund]:
    """Take a bounded number of due refunds: no other worker takes them during the lease."""
    rows = await db.fetch(
        """
        UPDATE refunds SET due_at = now() + $3::interval
        WHERE imp_uid IN (SELECT imp_uid FROM refunds WHERE state = $1 AND due_at <= now()
                          ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING *, clock_timestamp() - asked_at AS age
        """,
        state.value,
        limit,
        lease,
    )
    return [_refund(row) for row in rows]


async def read(db: Connection, imp_uid: str, *, lock: bool = False) -> Refund | None:
    """Return the refund, with its row locked for the transaction if it is to be moved."""
    if lock:
        await db.execute("SELECT FROM refunds WHERE imp_uid = $1 FOR UPDATE", imp_uid)
    row = await db.fetchrow("SELECT *, clock_timestamp() - asked_at AS age FROM refunds WHERE imp_uid = $1", imp_uid)
    return _refund(row) if row else None


async def postpone(db: Connection, refund: Refund, why: str | None, wait: timedelta) -> None:
    """Make a refund due again after the wait, if it is still as it was read; `why` it must wait, if known."""
    await db.execute(
        """
        UPDATE refunds SET due_at = now() + $5::interval, hold_reason = $4
        WHERE imp_uid = $1 AND round = $2 AND state = $3
        """,
        refund.imp_uid,
        refund.round,
        refund.state.value,
        why,
        wait,
    )


async def lock_hourly_cap(db: Connection) -> None:
    """Let one transaction at a time count and send. This lock is taken last."""
    await db.execute("SELECT pg_advisory_xact_lock($1, 0)", _HOURLY_CAP)


async def asked_within(db: Connection, window: timedelta) -> int:
    """Return how many refunds all workers together have asked for within the window."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM refund_moves WHERE state = 'asked' AND at > now() - $1::interval", window
    )
    return count


async def ask(db: Connection, refund: Refund, payment: Payment, *, wait: timedelta, first_look: timedelta) -> bool:
    """Move a refund intended → asked, for all that is held; return True to the one transaction that may send it.

    `wait`: the least age of the problem. `first_look`: the time until a look is due.
    """
    command_tag = await db.execute(
        """
        WITH moved AS (
            UPDATE refunds SET state = 'asked', hold_reason = NULL, asked_at = clock_timestamp(), amount = $3,
                   currency = $4, cancellations_before = $5, ticket = nextval('look_tickets'),
                   due_at = clock_timestamp() + $7::interval
            WHERE imp_uid = $1 AND round = $2 AND state = 'intended' AND found_at + $6::interval <= now()
            RETURNING imp_uid, round, state, who, why
        )
        INSERT INTO refund_moves (imp_uid, round, state, who, why) SELECT * FROM moved
        """,
        refund.imp_uid,
        refund.round,
        payment.held,
        payment.currency,
        payment.cancellations,
        wait,
        first_look,
    )
    return command_tag == "INSERT 0 1"


async def answered(db: Connection, refund: Refund, answer: CancelResult, text: str) -> None:
    """Record what PortOne answered to the call."""
    await db.execute(
        "UPDATE refunds SET answer = $3, answer_text = $4 WHERE imp_uid = $1 AND round = $2 AND answer IS NULL",
        refund.imp_uid,
        refund.round,
        answer.value,
        text,
    )


async def end(db: Connection, refund: Refund, state: RefundState, why: str, who: str = MACHINE) -> bool:
    """Move a refund from the state that was read to an end, and return whether it still was in that state."""
    command_tag = await db.execute(
        """
        WITH moved AS (
            UPDATE refunds SET state = $4, ended_at = now(), due_at = NULL, hold_reason = NULL
            WHERE imp_uid = $1 AND round = $2 AND state = $3
            RETURNING imp_uid, round, state
        )
        INSERT INTO refund_moves (imp_uid, round, state, who, why) SELECT imp_uid, round, state, $5, $6 FROM moved
        """,
        refund.imp_uid,
        refund.round,
        refund.state.value,
        state.value,
        who,
        why,
    )
    return command_tag == "INSERT 0 1"


async def shown_unknown(db: Connection, limit: int) -> list[Refund]:
    """Return refunds of unknown end that PortOne has shown since, by the rule of `domain.refund.is_refunded`."""
    rows = await db.fetch(
        """
        SELECT r.*, clock_timestamp() - r.asked_at AS age FROM refunds r JOIN payments p USING (imp_uid)
        WHERE r.state = 'refund_unknown' AND p.status = 'cancelled' AND p.cancellations > r.cancellations_before
          AND p.cancelled_amount >= greatest(p.amount, r.amount)
        ORDER BY r.imp_uid LIMIT $1
        """,
        limit,
    )
    return [_refund(row) for row in rows]


def _refund(row: asyncpg.Record) -> Refund:
    return Refund(
        imp_uid=row["imp_uid"],
        merchant_uid=row["merchant_uid"],
        round=row["round"],
        state=RefundState(row["state"]),
        kinds=tuple(ProblemKind(kind) for kind in row["kinds"]),
        found_at=row["found_at"],
        due_at=row["due_at"],
        origin=Origin(row["who"], row["why"], row["by_person"]),
        amount=row["amount"],
        cancellations_before=row["cancellations_before"],
        answer=CancelResult(row["answer"]) if row["answer"] else None,
        age=row["age"],
    )
