"""Facts on which the answer to a completion call depends, read for many calls in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.db import orders, payments
from service.db.json_rows import json_rows
from service.db.pool import Connection
from service.domain.completion import Searched
from service.domain.notice import Outcome
from service.domain.order import Order, VersionedOrder
from service.domain.payment import Payment


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """The outcome of the last look for a notice, its payment as stored, and the payment's order."""

    outcome: Outcome | None
    payment: Payment | None
    order: Order | None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order, and the last search for it that began since a time."""

    order: VersionedOrder | None
    searched: Searched | None


async def of_payments(
    db: Connection, asked: Sequence[tuple[UUID, str]], *, allow_test_channel: bool
) -> list[PaymentFacts]:
    """Return the facts for each (notice's id, imp_uid), in their order."""
    rows = await db.fetch(
        """
        SELECT g.n, n.last_outcome, p.payment, o.merchant_uid, o.amount, o.currency, o.account, o.tier, o.closed,
               o.allow_billing_key_issue
        FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY AS g (asked, n)
             LEFT JOIN LATERAL (SELECT last_outcome FROM notices WHERE id = (g.asked->>0)::uuid OFFSET 0) n ON true
             LEFT JOIN LATERAL (SELECT p AS payment, p.merchant_uid FROM payments p
                                WHERE p.imp_uid = g.asked->>1 OFFSET 0) p ON true
             LEFT JOIN LATERAL (SELECT * FROM orders WHERE merchant_uid = p.merchant_uid OFFSET 0) o ON true
        """,
        json_rows([(str(notice_id), imp_uid) for notice_id, imp_uid in asked]),
    )
    facts = {row["n"]: _payment_facts(row, allow_test_channel) for row in rows}
    return [facts[number] for number in range(1, len(asked) + 1)]


async def of_orders(
    db: Connection, asked: Sequence[tuple[str, datetime | None]], *, allow_test_channel: bool
) -> list[OrderFacts]:
    """Return the facts for each (merchant_uid, since when its search was wanted, if it was), in their order."""
    rows = await db.fetch(
        """
        SELECT g.n, o.*, s.last_outcome, s.window_open
        FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY AS g (asked, n)
             LEFT JOIN LATERAL (SELECT * FROM orders WHERE merchant_uid = g.asked->>0 OFFSET 0) o ON true
             LEFT JOIN LATERAL (SELECT last_outcome, window_open FROM searches
                                WHERE merchant_uid = g.asked->>0 AND began_at >= (g.asked->>1)::timestamptz
                                OFFSET 0) s ON true
        """,
        json_rows(asked),
    )
    facts = {row["n"]: _order_facts(row, allow_test_channel) for row in rows}
    return [facts[number] for number in range(1, len(asked) + 1)]


def _payment_facts(row: asyncpg.Record, allow_test_channel: bool) -> PaymentFacts:
    return PaymentFacts(
        Outcome(row["last_outcome"]) if row["last_outcome"] else None,
        payments.payment(row["payment"]) if row["payment"] else None,
        orders.terms(row, allow_test_channel) if row["merchant_uid"] is not None else None,
    )


def _order_facts(row: asyncpg.Record, allow_test_channel: bool) -> OrderFacts:
    return OrderFacts(
        orders.stored_order(row, allow_test_channel) if row["merchant_uid"] is not None else None,
        Searched(Outcome(row["last_outcome"]), row["window_open"]) if row["last_outcome"] else None,
    )
