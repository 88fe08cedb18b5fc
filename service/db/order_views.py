"""Orders as other services read them: each with the payment that decides its state, and its amount's preparation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from service.db import orders, payments
from service.db.json_rows import json_rows
from service.db.orders import NewOrder, StoredOrder
from service.db.pool import Connection
from service.db.preparations import Preparation, PreparationState
from service.domain.order import Settlement
from service.domain.payment import Payment


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, the payment that decides its state, and the preparation of its amount."""

    order: StoredOrder
    payment: Payment | None
    preparation: Preparation | None


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered order as stored, and whether this call stored it."""

    order: StoredOrder
    new: bool
    preparation: Preparation | None


async def read(db: Connection, merchant_uids: Sequence[str]) -> dict[str, OrderView]:
    """Return those of the orders that are registered, as they stand, in one statement."""
    rows = await db.fetch(
        """
        SELECT o.*, p.payment, r.outcome AS preparation, r.reason
        FROM orders o
             LEFT JOIN LATERAL (SELECT p AS payment FROM payments p WHERE p.imp_uid = o.imp_uid OFFSET 0) p ON true
             LEFT JOIN LATERAL (SELECT * FROM preparations WHERE merchant_uid = o.merchant_uid OFFSET 0) r ON true
        WHERE o.merchant_uid = ANY($1::text[])
        """,
        merchant_uids,
    )
    return {
        row["merchant_uid"]: OrderView(
            orders.stored_order(row, allow_test_channel=False),
            payments.payment(row["payment"]) if row["payment"] else None,
            _preparation(row),
        )
        for row in rows
    }


async def register(
    db: Connection, given: Sequence[NewOrder], first_check: timedelta, *, prepare: bool
) -> dict[str, Registered]:
    """Store those of the orders that are new, and return them. Give each order once.

    One of which something is stored already is not: `register_orders_v2` says why. `first_check`: the time until
    reconciliation asks about a new one. Raises DataError, as asyncpg does, for a text that cannot be encoded in UTF-8.
    """
    rows = await db.fetch(
        "SELECT * FROM register_orders_v2($1::text::jsonb, $2, $3)",
        json_rows(map(_columns, given)),
        first_check,
        prepare,
    )
    orders_given = {order.terms.merchant_uid: order for order in given}
    preparation = Preparation(PreparationState.PENDING) if prepare else None
    return {
        row["merchant_uid"]: Registered(_new_order(orders_given[row["merchant_uid"]], row), True, preparation)
        for row in rows
    }


async def registered_before(db: Connection, given: Sequence[NewOrder]) -> dict[str, Registered]:
    """Return those of the orders that are registered already, as they stand."""
    allowed = {order.terms.merchant_uid: order.terms.allow_test_channel for order in given}
    rows = await db.fetch(
        """
        SELECT o.*, r.outcome AS preparation, r.reason
        FROM orders o
             LEFT JOIN LATERAL (SELECT * FROM preparations WHERE merchant_uid = o.merchant_uid OFFSET 0) r ON true
        WHERE o.merchant_uid = ANY($1::text[])
        """,
        list(allowed),
    )
    return {
        row["merchant_uid"]: Registered(
            orders.stored_order(row, allowed[row["merchant_uid"]]), False, _preparation(row)
        )
        for row in rows
    }


def _new_order(given: NewOrder, row: asyncpg.Record) -> StoredOrder:
    return StoredOrder(
        terms=given.terms,
        settlement=Settlement(),
        version=1,
        name=given.name,
        metadata=given.metadata,
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        updated_at=row["created_at"],
    )


def _columns(order: NewOrder) -> tuple[object, ...]:
    terms = order.terms
    return (
        terms.merchant_uid, terms.amount, terms.currency, terms.store.account, terms.store.tier, order.name,
        order.metadata, order.expires_at, terms.allow_billing_key_issue,
    )  # fmt: skip


def _preparation(row: asyncpg.Record) -> Preparation | None:
    return Preparation(PreparationState(row["preparation"]), row["reason"]) if row["preparation"] else None
