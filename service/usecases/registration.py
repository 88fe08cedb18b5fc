"""Registering an order: the shop's terms, before payment. Payments that are stored already are settled at once.

Registrations that arrive while one batch is written form the next: one statement for all orders of which nothing is
stored yet. Any other is settled by itself, under the same locks. A batch gives way to intake.
"""

from collections.abc import Iterable, Sequence

from service.db import archives, notices, order_views, orders, payments, preparations
from service.db.order_views import Registered
from service.db.orders import NewOrder
from service.db.pool import Connection, Pool, in_statement, in_transaction
from service.domain.evidence import Cause, of_stored
from service.domain.settle import settle
from service.domain.timetable import Timetable
from service.errors import OtherTerms
from service.usecases.announcing import Announcer
from service.usecases.archiving import archived_error
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake


class Registration:
    """Registers orders, in batches. `prepare`: have a worker register each amount with PortOne soon after."""

    def __init__(
        self,
        pool: Pool,
        times: Timetable,
        bounds: BatchBounds,
        *,
        intake: Intake | None = None,
        announcer: Announcer | None = None,
        prepare: bool = False,
    ) -> None:
        self._pool = pool
        self._times = times
        self._announcer = announcer
        self._prepare = prepare
        urgent = intake.batches if intake else None
        self.batches = Coalescer[NewOrder, Registered | None](self._store, bounds, gives_way_to=urgent)

    async def register(self, order: NewOrder) -> Registered:
        """Store the order, or find the same one stored.

        Raises OtherTerms, OrderArchived, Overloaded or PostgresUnavailable.
        """
        registered = await self.batches.join(order)
        if registered is None:
            registered = await in_transaction(self._pool, settle_first, order, self._times, prepare=self._prepare)
            self._announce([registered])
        if not registered.new and (others := _differing(registered, order)):
            raise OtherTerms(", ".join(others))
        return registered

    async def close(self) -> None:
        """Wait for what is being written."""
        await self.batches.close()

    async def _store(self, batch: Sequence[NewOrder]) -> Sequence[Registered | None]:
        """Store what is new; of one order that comes twice only the first can be."""
        first = {order.terms.merchant_uid: order for order in reversed(batch)}
        stored = await in_statement(
            self._pool, order_views.register, list(first.values()), self._times.silence[0], prepare=self._prepare
        )
        self._announce(stored.values())
        if known := [order for merchant_uid, order in first.items() if merchant_uid not in stored]:
            stored |= await in_statement(self._pool, order_views.registered_before, known)
        return [_as_found(stored.get(order.terms.merchant_uid), order, first) for order in batch]

    def _announce(self, registered: Iterable[Registered]) -> None:
        if self._announcer:
            self._announcer.changed(*(each.order.terms.merchant_uid for each in registered if each.new))


def _as_found(registered: Registered | None, order: NewOrder, first: dict[str, NewOrder]) -> Registered | None:
    if registered is None or first[order.terms.merchant_uid] is order:
        return registered
    return Registered(registered.order, False, registered.preparation)


async def settle_first(db: Connection, order: NewOrder, times: Timetable, *, prepare: bool) -> Registered:
    """Register an order of which something is stored already, with what that means."""
    terms = order.terms
    await orders.lock(db, [terms.merchant_uid])
    for stored in await orders.read(db, [terms.merchant_uid], allow_test_channel=terms.allow_test_channel):
        return Registered(stored, False, await preparations.of_order(db, terms.merchant_uid))
    for archived in (await archives.find(db, [terms.merchant_uid])).values():
        raise archived_error(archived)
    stored_payments = await payments.of_orders(db, [terms.merchant_uid])
    evidence = of_stored(Cause.REGISTRATION, stored_payments)
    inserted = await orders.insert(db, order, settle(terms, stored_payments), times.silence[0], evidence)
    await notices.replay_of_order(db, terms.merchant_uid)
    if prepare:
        await preparations.want(db, terms.merchant_uid)
    return Registered(inserted, True, await preparations.of_order(db, terms.merchant_uid) if prepare else None)


def _differing(registered: Registered, order: NewOrder) -> list[str]:
    """Name what a repeated call says otherwise than the first; it may leave out when the order expires."""
    stored, terms, given = registered.order, registered.order.terms, order.terms
    pairs: dict[str, tuple[object, object]] = {
        "amount": (terms.amount, given.amount),
        "currency": (terms.currency, given.currency),
        "account": (terms.store.account, given.store.account),
        "tier": (terms.store.tier, given.store.tier),
        "allow_billing_key_issue": (terms.allow_billing_key_issue, given.allow_billing_key_issue),
        "name": (stored.name, order.name),
        "metadata": (stored.metadata, order.metadata),
        "expires_at": (stored.expires_at, order.expires_at or stored.expires_at),
    }
    return [name for name, (before, now) in pairs.items() if before != now]
