"""Amending a registered order. It takes the locks that registering takes, and settles what is stored."""

from collections.abc import Set
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict

from service.db import order_views, orders, payments, preparations, terms
from service.db.order_views import OrderView
from service.db.orders import StoredOrder
from service.db.pool import Connection, Pool, in_transaction
from service.domain.evidence import Cause, of_stored
from service.domain.payment import Payment
from service.domain.settle import settle
from service.domain.terms import money_came
from service.errors import MoneyCame, OrderClosed, VersionMoved
from service.usecases.archiving import why_unknown


class Changes(TypedDict, total=False):
    """The terms to change; those that are not named stay. `amount` is in the currency's smallest unit."""

    amount: int
    currency: str
    name: str | None
    metadata: dict[str, Any] | None
    expires_at: datetime


async def amend(
    pool: Pool,
    merchant_uid: str,
    versions: Set[int] | None,
    changes: Changes,
    *,
    allow_test_channel: bool,
    prepare: bool,
) -> OrderView:
    """Change an order's terms, if it has one of these versions (None: any).

    Raises OrderArchived, OrderNotRegistered, VersionMoved, OrderClosed, MoneyCame or PostgresUnavailable.
    """

    async def work(db: Connection) -> OrderView:
        before, stored = await lock_and_read(db, merchant_uid, allow_test_channel=allow_test_channel)
        after = _amended(before, stored, changes)
        # RFC 9110 §13.1.1: a change that was made already, by a call whose answer was lost, is no conflict.
        if versions is not None and before.version not in versions and after != before:
            raise VersionMoved
        if before.terms.closed:
            raise OrderClosed(before.terms.closed.value)
        if money_came(before.terms, stored):
            raise MoneyCame
        if after != before:
            await _write(db, before, after, stored, prepare)
        return await read_registered(db, merchant_uid)

    return await in_transaction(pool, work)


async def lock_and_read(
    db: Connection, merchant_uid: str, *, allow_test_channel: bool
) -> tuple[StoredOrder, list[Payment]]:
    """Lock an order, and read it with its payments that count. Raises OrderArchived or OrderNotRegistered."""
    await orders.lock(db, [merchant_uid])
    for order in await orders.read(db, [merchant_uid], allow_test_channel=allow_test_channel):
        return order, await payments.of_orders(db, [merchant_uid])
    raise await why_unknown(db, merchant_uid)


def _amended(before: StoredOrder, stored: list[Payment], changes: Changes) -> StoredOrder:
    amended = replace(
        before.terms,
        amount=changes.get("amount", before.terms.amount),
        currency=changes.get("currency", before.terms.currency),
    )
    return replace(
        before,
        terms=amended,
        settlement=settle(amended, stored),
        name=changes.get("name", before.name),
        metadata=changes.get("metadata", before.metadata),
        expires_at=changes.get("expires_at", before.expires_at),
    )


async def _write(db: Connection, before: StoredOrder, after: StoredOrder, stored: list[Payment], prepare: bool) -> None:
    await terms.rewrite(db, before, after, of_stored(Cause.AMENDMENT, stored))
    merchant_uid = after.terms.merchant_uid
    # An amount that PortOne has must follow, whatever the setting is now, because its SDK refuses another amount.
    if after.terms != before.terms and (prepare or await preparations.of_order(db, merchant_uid)):
        await preparations.want(db, merchant_uid)


async def read_registered(db: Connection, merchant_uid: str) -> OrderView:
    """Return the order as it stands. Raises OrderArchived or OrderNotRegistered."""
    for view in (await order_views.read(db, [merchant_uid])).values():
        return view
    raise await why_unknown(db, merchant_uid)
