"""The tables `orders` and `order_events`: an order, and one event for each of its versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from service.db import order_checks
from service.db.pool import Connection
from service.domain.confirm import Payable
from service.domain.evidence import Evidence
from service.domain.order import (
    WITHOUT_MONEY,
    Closed,
    Order,
    Problem,
    ProblemKind,
    Settlement,
    State,
    VersionedOrder,
)
from service.domain.payment import Store

# A database has one namespace of advisory locks: this number is for orders', 1 for payments' (claim_notices_v3).
_ORDERS = 2


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order that the shop registers. `expires_at` None: the database sets the default."""

    terms: Order
    name: str | None = None
    metadata: dict[str, Any] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredOrder(VersionedOrder):
    """An order with all that is stored of it.

    `registered_amount` is the shop's, where a person has accepted a payment of another amount.
    """

    name: str | None
    metadata: dict[str, Any] | None
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    registered_amount: int | None = None


async def lock(db: Connection, merchant_uids: Sequence[str]) -> None:
    """Take the orders' locks, sorted, in a statement of their own, so that the next statement reads the newest rows.

    They are advisory because an order that is not registered yet has no row to lock, and its payment and its
    registration must not miss each other (docs/decisions/0001-use-advisory-locks-for-orders.md).
    """
    await db.execute(
        """
        SELECT pg_advisory_xact_lock($2, k) FROM (
            SELECT DISTINCT hashtext(m) AS k FROM unnest($1::text[]) AS m ORDER BY k) AS sorted
        """,
        merchant_uids,
        _ORDERS,
    )


async def read(db: Connection, merchant_uids: Sequence[str], *, allow_test_channel: bool) -> list[StoredOrder]:
    """Return those of the orders that are registered, unsorted."""
    rows = await db.fetch("SELECT * FROM orders WHERE merchant_uid = ANY($1::text[])", merchant_uids)
    return [stored_order(row, allow_test_channel) for row in rows]


async def payable(db: Connection, merchant_uids: Sequence[str]) -> dict[str, Payable]:
    """Read what decides whether these orders may be paid, of those that are registered."""
    rows = await db.fetch(
        """
        SELECT merchant_uid, amount, currency, account, tier, allow_billing_key_issue, state, closed, expires_at,
               problems @> '[{"kind": "unreadable_payment"}]' AS unreadable
        FROM orders WHERE merchant_uid = ANY($1::text[])
        """,
        merchant_uids,
    )
    return {
        row["merchant_uid"]: Payable(
            terms(row, allow_test_channel=False),
            State(row["state"]),
            _closed(row),
            row["expires_at"],
            row["unreadable"],
        )
        for row in rows
    }


async def settled(db: Connection, merchant_uids: Sequence[str], *, allow_test_channel: bool) -> list[VersionedOrder]:
    """Return those of the orders that are registered, as settling needs them. The caller holds their locks."""
    rows = await db.fetch(
        """
        SELECT merchant_uid, amount, currency, account, tier, closed, state, paid_amount, cancelled_amount, imp_uid,
               problems, test_channel, allow_billing_key_issue, version
        FROM orders WHERE merchant_uid = ANY($1::text[])
        """,
        merchant_uids,
    )
    return [VersionedOrder(terms(row, allow_test_channel), _settlement(row), row["version"]) for row in rows]


async def insert(
    db: Connection, order: NewOrder, settlement: Settlement, first_check: timedelta, evidence: Evidence
) -> StoredOrder:
    """Store a new order and its first event. The caller holds its lock, and has seen that it is new.

    `first_check`: the time until reconciliation asks about it.
    """
    new = order.terms
    row = await db.fetchrow(
        """
        INSERT INTO orders (merchant_uid, amount, currency, account, tier, name, metadata, expires_at,
                            state, paid_amount, cancelled_amount, imp_uid, problems, test_channel,
                            allow_billing_key_issue)
        VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, now() + interval '30 days'),
                $9, $10, $11, $12, $13, $14, $15)
        RETURNING *
        """,
        new.merchant_uid,
        new.amount,
        new.currency,
        new.store.account,
        new.store.tier,
        order.name,
        order.metadata,
        order.expires_at,
        *columns(settlement),
        new.allow_billing_key_issue,
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING without ON CONFLICT gives a row or raises
    await db.execute(
        """
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  imp_uid, problems, closed, test_channel, cause, facts)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               closed, test_channel, $2, $3
        FROM orders WHERE merchant_uid = $1
        """,
        new.merchant_uid,
        evidence.cause,
        list(evidence.facts),
    )
    await order_checks.ask_by(db, new.merchant_uid, first_check, row["expires_at"])
    return stored_order(row, new.allow_test_channel)


async def unsettled_with_money(db: Connection, merchant_uids: Sequence[str]) -> list[tuple[str, str, Store]]:
    """Return payments (imp_uid, merchant_uid, store) that hold money which their order, one of these, does not show.

    There should be none, because registering and settling take the same locks; this query would find one. A payment
    with a problem shows: its order may be without money on purpose.
    """
    rows = await db.fetch(
        """
        SELECT p.imp_uid, p.merchant_uid, p.account, p.tier FROM orders o JOIN payments p USING (merchant_uid)
        WHERE o.merchant_uid = ANY($1::text[]) AND p.merchant_uid = ANY($1::text[]) AND p.status = 'paid' AND p.live
          AND o.state = ANY($2::text[])
          AND NOT o.problems @> jsonb_build_array(jsonb_build_object('imp_uid', p.imp_uid))
        """,
        merchant_uids,
        sorted(WITHOUT_MONEY),
    )
    return [(row["imp_uid"], row["merchant_uid"], Store(row["account"], row["tier"])) for row in rows]


def columns(settlement: Settlement) -> tuple[Any, ...]:
    """Return the settlement as columns: state, paid and cancelled amount, imp_uid, problems, test_channel."""
    return (
        settlement.state,
        settlement.paid_amount,
        settlement.cancelled_amount,
        settlement.imp_uid,
        [{"kind": problem.kind, "imp_uid": problem.imp_uid} for problem in settlement.problems],
        settlement.test_channel,
    )


def terms(row: asyncpg.Record, allow_test_channel: bool) -> Order:
    """Return the terms of a row that has at least their columns."""
    return Order(
        row["merchant_uid"],
        row["amount"],
        row["currency"],
        Store(row["account"], row["tier"]),
        allow_test_channel,
        row["allow_billing_key_issue"],
        closed=_closed(row),
    )


def _closed(row: asyncpg.Record) -> Closed | None:
    return Closed(row["closed"]) if row["closed"] else None


def _settlement(row: asyncpg.Record) -> Settlement:
    return Settlement(
        State(row["state"]),
        row["paid_amount"],
        row["cancelled_amount"],
        row["imp_uid"],
        tuple(Problem(ProblemKind(p["kind"]), p["imp_uid"]) for p in row["problems"]),
        row["test_channel"],
    )


def stored_order(row: asyncpg.Record, allow_test_channel: bool) -> StoredOrder:
    """Return a whole row of the table."""
    return StoredOrder(
        terms=terms(row, allow_test_channel),
        settlement=_settlement(row),
        version=row["version"],
        name=row["name"],
        metadata=row["metadata"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        registered_amount=row["registered_amount"],
    )
