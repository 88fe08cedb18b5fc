"""The table `payments`: each payment as PortOne last reported it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import asyncpg

from service.db import unreadable
from service.db.pool import Connection
from service.domain.judgement import StoredPayments, for_settling
from service.domain.payment import Payment, Status, Store
from service.domain.staleness import Lesser, StoredLook
from service.domain.unreadable import stand_in


async def lock(db: Connection, merchant_uids: Sequence[str], imp_uids: Sequence[str]) -> StoredPayments:
    """Lock and read the payments of these orders that count, and those named, sorted. The orders are locked already.

    A window that was only opened counts for nothing in `settle`, and a buyer may open thousands of one order.
    """
    rows = await db.fetch(
        """
        WITH locked AS (
            SELECT * FROM payments
            WHERE imp_uid = ANY(
                $2::text[]
                || ARRAY(SELECT imp_uid FROM payments WHERE merchant_uid = ANY($1::text[])
                         AND (status <> 'ready' OR lesser IS NOT NULL))
                || ARRAY(SELECT imp_uid FROM refunds WHERE merchant_uid = ANY($1::text[])
                         AND state = 'refund_unknown'))
            ORDER BY imp_uid FOR UPDATE
        )
        SELECT t.now, t.unreadable_rows, p.*,
               (SELECT true FROM refunds r WHERE r.merchant_uid = p.merchant_uid AND r.imp_uid = p.imp_uid
                  AND r.state = 'refund_unknown') IS NOT NULL
                 AS refund_unknown
        FROM (SELECT clock_timestamp() AS now,
                     (SELECT jsonb_agg(u) FROM unreadable_payments u WHERE u.imp_uid = ANY(
                          $2::text[] || ARRAY(SELECT imp_uid FROM unreadable_payments
                                              WHERE merchant_uid = ANY($1::text[])))) AS unreadable_rows) t
             LEFT JOIN locked p ON true
        """,
        merchant_uids,
        imp_uids,
    )
    stored = [row for row in rows if row["imp_uid"] is not None]
    return StoredPayments(
        rows[0]["now"],
        {row["imp_uid"]: _stored(row) for row in stored},
        frozenset(row["imp_uid"] for row in stored if row["refund_unknown"]),
        unreadable.of_rows(rows[0]["unreadable_rows"] or ()),
    )


async def read(db: Connection, imp_uids: Sequence[str]) -> dict[str, StoredLook]:
    """Return those of the payments that are stored, by imp_uid."""
    rows = await db.fetch("SELECT * FROM payments WHERE imp_uid = ANY($1::text[])", imp_uids)
    return {row["imp_uid"]: _stored(row) for row in rows}


async def of_orders(db: Connection, merchant_uids: Sequence[str]) -> list[Payment]:
    """Return the payments of these orders that count, as `settle` takes them, and the unreadable ones."""
    rows = await db.fetch(
        """
        SELECT t.unreadable_rows, p.*,
               (SELECT true FROM refunds r WHERE r.merchant_uid = p.merchant_uid AND r.imp_uid = p.imp_uid
                  AND r.state = 'refund_unknown') IS NOT NULL
                    AS refund_unknown
        FROM (SELECT (SELECT jsonb_agg(u) FROM unreadable_payments u WHERE merchant_uid = ANY($1::text[]))
                         AS unreadable_rows) t
             LEFT JOIN payments p ON p.imp_uid = ANY(
            ARRAY(SELECT imp_uid FROM payments WHERE merchant_uid = ANY($1::text[])
                  AND (status <> 'ready' OR lesser IS NOT NULL))
            || ARRAY(SELECT imp_uid FROM refunds WHERE merchant_uid = ANY($1::text[]) AND state = 'refund_unknown'))
        """,
        merchant_uids,
    )
    odd = unreadable.of_rows(rows[0]["unreadable_rows"] or ())
    stored = [row for row in rows if row["imp_uid"] is not None]
    readable = [
        for_settling(_stored(row), refund_unknown=row["refund_unknown"], unreadable=row["imp_uid"] in odd)
        for row in stored
    ]
    known = {row["imp_uid"] for row in stored}
    names = {imp_uid: row.payment.merchant_uid for imp_uid, row in odd.items() if imp_uid not in known}
    return readable + [stand_in(name, odd[imp_uid].payment) for imp_uid, name in names.items() if name is not None]


async def mark_unregistered(db: Connection, imp_uids: Sequence[str]) -> None:
    """Mark payments whose order is not registered, so that money without an order is found by an index."""
    await db.execute("UPDATE payments SET came_unregistered = true WHERE imp_uid = ANY($1::text[])", imp_uids)


async def one(db: Connection, imp_uid: str) -> Payment | None:
    row = await db.fetchrow("SELECT * FROM payments WHERE imp_uid = $1", imp_uid)
    return _stored(row).payment if row else None


def columns(look: StoredLook) -> tuple[Any, ...]:
    """Return the look as a row for `write_looks_v2`, which draws a ticket for THIS_WRITE."""
    payment, lesser = look.payment, look.lesser
    return (
        payment.imp_uid,
        payment.merchant_uid,
        payment.store.account,
        payment.store.tier,
        payment.status,
        payment.amount,
        payment.currency,
        payment.cancelled_amount,
        payment.cancellations,
        payment.live,
        _seconds(payment.started_at),
        _seconds(payment.paid_at),
        dict(payment.details),
        look.written_ticket,
        *((_facts(lesser.payment), lesser.first_seen_at, lesser.written_ticket) if lesser else ()),
    )


def _seconds(at: datetime | None) -> float | None:
    """Return seconds since 1970, exact to the microsecond; Postgres reads them at half the cost of a date."""
    return at.timestamp() if at else None


def _facts(payment: Payment) -> dict[str, Any]:
    return {
        "imp_uid": payment.imp_uid,
        "merchant_uid": payment.merchant_uid,
        "account": payment.store.account,
        "tier": payment.store.tier,
        "status": payment.status.value,
        "amount": payment.amount,
        "currency": payment.currency,
        "cancelled_amount": payment.cancelled_amount,
        "cancellations": payment.cancellations,
        "live": payment.live,
        "started_at": payment.started_at,
        "paid_at": payment.paid_at,
        "details": dict(payment.details),
    }


def _stored(row: asyncpg.Record) -> StoredLook:
    facts = payment(row)
    if row["lesser"] is None:
        return StoredLook(facts, row["written_ticket"])
    lesser = Lesser(payment(row["lesser"]), row["lesser_seen_at"], row["lesser_ticket"])
    return StoredLook(replace(facts, regressed=True), row["written_ticket"], lesser)


def payment(row: Any) -> Payment:
    """Return the facts of a row, or of a lesser answer."""
    return Payment(
        imp_uid=row["imp_uid"],
        merchant_uid=row["merchant_uid"],
        store=Store(row["account"], row["tier"]),
        status=Status(row["status"]),
        amount=row["amount"],
        currency=row["currency"],
        cancelled_amount=row["cancelled_amount"],
        cancellations=row["cancellations"],
        live=row["live"],
        started_at=_time(row["started_at"]),
        paid_at=_time(row["paid_at"]),
        details=tuple(sorted(row["details"].items())),
    )


def _time(value: datetime | str | None) -> datetime | None:
    """Read a time, which is a text in a lesser answer, because that is stored as JSON."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
