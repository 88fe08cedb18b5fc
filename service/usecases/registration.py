"""Registering an order: the shop's terms, before payment. Payments that are stored already are settled at once."""

from dataclasses import dataclass

from service.db import notices, orders, payments, preparations
from service.db.orders import NewOrder, StoredOrder
from service.db.pool import Connection, Pool, in_transaction
from service.db.preparations import Preparation
from service.domain.evidence import Cause, of_stored
from service.domain.payment import Payment
from service.domain.settle import settle
from service.domain.timetable import Timetable
from service.errors import OtherTerms


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered order as stored, and whether this call stored it."""

    order: StoredOrder
    new: bool
    preparation: Preparation | None


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, the payment that decides its state, and the preparation of its amount."""

    order: StoredOrder
    payment: Payment | None
    preparation: Preparation | None


async def register(pool: Pool, order: NewOrder, times: Timetable, *, prepare: bool = False) -> Registered:
    """Store the order, or find the same one stored. Raises OtherTerms or PostgresUnavailable.

    `prepare`: have a worker register its amount with PortOne soon after.
    """
    return await in_transaction(pool, _register, order, times, prepare=prepare)


async def _register(db: Connection, order: NewOrder, times: Timetable, *, prepare: bool) -> Registered:
    terms = order.terms
    await orders.lock(db, [terms.merchant_uid])
    for stored in await orders.read(db, [terms.merchant_uid], allow_test_channel=terms.allow_test_channel):
        if not _same(stored, order):
            raise OtherTerms
        return Registered(stored, False, await preparations.of_order(db, terms.merchant_uid))
    stored_payments = await payments.of_orders(db, [terms.merchant_uid])
    evidence = of_stored(Cause.REGISTRATION, stored_payments)
    inserted = await orders.insert(db, order, settle(terms, stored_payments), times.silence[0], evidence)
    await notices.replay_of_order(db, terms.merchant_uid)
    if prepare:
        await preparations.want(db, terms.merchant_uid)
    return Registered(inserted, True, await preparations.of_order(db, terms.merchant_uid) if prepare else None)


def _same(stored: StoredOrder, order: NewOrder) -> bool:
    """Return whether a repeated call names the same order; it may leave out when the order expires."""
    return (stored.terms, stored.name, stored.metadata) == (order.terms, order.name, order.metadata) and (
        order.expires_at in (None, stored.expires_at)
    )


async def find(pool: Pool, merchant_uid: str) -> OrderView | None:
    """Return the order as it stands, or None. Raises PostgresUnavailable."""
    return await in_transaction(pool, read_whole, merchant_uid)


async def read_whole(db: Connection, merchant_uid: str) -> OrderView | None:
    """Return the order as it stands in this transaction, or None."""
    for stored in await orders.read(db, [merchant_uid], allow_test_channel=False):
        imp_uid = stored.settlement.imp_uid
        payment = await payments.one(db, imp_uid) if imp_uid else None
        return OrderView(stored, payment, await preparations.of_order(db, merchant_uid))
    return None
