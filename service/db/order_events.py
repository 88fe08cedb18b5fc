"""The table `order_events` as the history of an order."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from service.db.pool import Connection
from service.domain.evidence import Cause, Evidence
from service.domain.notice import Source
from service.domain.order import Problem, ProblemKind


@dataclass(frozen=True, slots=True)
class Event:
    """One version of an order, with its time and what led to it. Amounts are in the currency's smallest unit."""

    version: int
    at: datetime
    state: str
    amount: int
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    closed: str | None
    problems: tuple[Problem, ...]
    test_channel: bool
    evidence: Evidence


_PLAIN = (
    "version", "at", "state", "amount", "currency", "paid_amount", "cancelled_amount", "imp_uid", "closed",
    "test_channel",
)  # fmt: skip


async def history(db: Connection, merchant_uid: str, limit: int) -> list[Event]:
    """Return the order's last versions, the oldest first."""
    rows = await db.fetch(
        """
        SELECT version, at, state, amount, currency, paid_amount, cancelled_amount, imp_uid, closed, problems,
               test_channel, cause, notice_id, source, looked_at, ticket, facts, who, why
        FROM (SELECT * FROM order_events WHERE merchant_uid = $1 ORDER BY version DESC LIMIT $2) AS last
        ORDER BY version
        """,
        merchant_uid,
        limit,
    )
    return [_event(row) for row in rows]


async def after(db: Connection, merchant_uid: str, version: int, limit: int) -> list[Event]:
    """Return the order's next versions after this one, the oldest first."""
    rows = await db.fetch(
        """
        SELECT version, at, state, amount, currency, paid_amount, cancelled_amount, imp_uid, closed, problems,
               test_channel, cause, notice_id, source, looked_at, ticket, facts, who, why
        FROM order_events WHERE merchant_uid = $1 AND version > $2 ORDER BY version LIMIT $3
        """,
        merchant_uid,
        version,
        limit,
    )
    return [_event(row) for row in rows]


def _event(row: asyncpg.Record) -> Event:
    problems = tuple(Problem(ProblemKind(problem["kind"]), problem["imp_uid"]) for problem in row["problems"])
    return Event(**{name: row[name] for name in _PLAIN}, problems=problems, evidence=_evidence(row))


def _evidence(row: asyncpg.Record) -> Evidence:
    return Evidence(
        Cause(row["cause"]),
        row["notice_id"],
        Source(row["source"]) if row["source"] else None,
        row["looked_at"],
        row["ticket"],
        tuple(row["facts"]),
        row["who"],
        row["why"],
    )
