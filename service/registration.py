"""Registering an order: the shop's terms, before payment. What was already seen for it is settled at once."""

from dataclasses import dataclass

from service.db import orders, payments
from service.db.orders import NewOrder, StoredOrder
from service.db.pool import Connection, Pool, in_transaction
from service.domain.payment import Payment
from service.domain.settle import settle
from service.errors import OtherTerms
from service.timetable import Timetable


@dataclass(frozen=True, slots=True)
class Registered:
    """The order as stored, and whether this call made it."""

    order: StoredOrder
    new: bool


async def register(pool: Pool, order: NewOrder, times: Timetable) -> Registered:
    """Store the order, or find the same one. Raises OtherTerms, or StoreUnavailable."""
    return await in_transaction(pool, lambda db: _register(db, order, times))


async def _register(db: Connection, order: NewOrder, times: Timetable) -> Registered:
    terms = order.terms
    await orders.lock(db, [terms.merchant_uid])
    for stored in await orders.read(db, [terms.merchant_uid], allow_test_channel=terms.allow_test_channel):
        if not _same(stored, order):
            raise OtherTerms
        return Registered(stored, new=False)
    settlement = settle(terms, await payments.of_orders(db, [terms.merchant_uid]))
    return Registered(await orders.insert(db, order, settlement, times.silence[0]), new=True)


def _same(stored: StoredOrder, order: NewOrder) -> bool:
    """A repeated call may leave out when the order expires, which then is as it was."""
    return (stored.terms, stored.name, stored.metadata) == (order.terms, order.name, order.metadata) and (
        order.expires_at in (None, stored.expires_at)
    )


async def find(pool: Pool, merchant_uid: str) -> tuple[StoredOrder, Payment | None] | None:
    """The order and the payment that decides its state, or None. Raises StoreUnavailable."""
    return await in_transaction(pool, lambda db: _find(db, merchant_uid))


async def _find(db: Connection, merchant_uid: str) -> tuple[StoredOrder, Payment | None] | None:
    for stored in await orders.read(db, [merchant_uid], allow_test_channel=False):
        imp_uid = stored.settlement.imp_uid
        return stored, await payments.one(db, imp_uid) if imp_uid else None
    return None
