"""The table `unreadable_payments`: what PortOne said of a payment that may hold money, where no rule can use it."""

from collections.abc import Sequence
from typing import Any

import orjson

from service.db.pool import Connection
from service.domain.judgement import Judgement
from service.domain.payment import Store
from service.domain.unreadable import StoredUnreadable, UnreadablePayment


async def read(db: Connection, imp_uids: Sequence[str]) -> dict[str, StoredUnreadable]:
    """Return those of the payments that are stored as unreadable, by imp_uid."""
    rows = await db.fetch("SELECT * FROM unreadable_payments WHERE imp_uid = ANY($1::text[])", imp_uids)
    return of_rows(rows)


def of_rows(rows: Sequence[Any]) -> dict[str, StoredUnreadable]:
    """Read rows of the table, also those that another query brought as JSON."""
    return {row["imp_uid"]: StoredUnreadable(_payment(row), row["written_ticket"]) for row in rows}


def _payment(row: Any) -> UnreadablePayment:
    return UnreadablePayment(
        imp_uid=row["imp_uid"],
        merchant_uid=row["merchant_uid"],
        store=Store(row["account"], row["tier"]),
        odd=tuple(sorted(row["odd"].items())),
        amount=row["amount"],
        currency=row["currency"],
        live=row["live"],
    )


async def write(db: Connection, judgement: Judgement) -> None:
    """Store the payments that cannot be read, and forget those that can be read again. Nearly always there are none."""
    if judgement.unreadable:
        await db.execute(
            """
            INSERT INTO unreadable_payments AS u
                   (imp_uid, merchant_uid, account, tier, odd, amount, currency, live, written_ticket)
            SELECT g->>0, g->>1, g->>2, g->>3, g->4, (g->>5)::bigint, g->>6, (g->>7)::boolean, nextval('look_tickets')
            FROM jsonb_array_elements($1::text::jsonb) AS g
            ON CONFLICT (imp_uid) DO UPDATE SET
                merchant_uid = coalesce(excluded.merchant_uid, u.merchant_uid), account = excluded.account,
                tier = excluded.tier, odd = excluded.odd, amount = excluded.amount, currency = excluded.currency,
                live = excluded.live, written_ticket = excluded.written_ticket, seen_at = now()
            """,
            orjson.dumps([_columns(payment) for payment in judgement.unreadable]).decode(),
        )
    if judgement.readable:
        await db.execute("DELETE FROM unreadable_payments WHERE imp_uid = ANY($1::text[])", judgement.readable)


def _columns(payment: UnreadablePayment) -> tuple[Any, ...]:
    store = payment.store
    return (
        payment.imp_uid, payment.merchant_uid, store.account, store.tier, dict(payment.odd), payment.amount,
        payment.currency, payment.live,
    )  # fmt: skip
