"""Closing an order that nobody paid: withdrawn by the shop, or expired by the clock.

PortOne is asked first, with no transaction open; then it is decided under the locks that registering takes, by what is
stored by then. Money that PortOne reports afterwards still counts, and is the problem `paid_after_close`.
"""

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import timedelta

from service.db import operator_actions, orders, payments, terms
from service.db.order_views import OrderView
from service.db.orders import StoredOrder
from service.db.pool import Connection, Pool, in_transaction
from service.domain.evidence import Cause, of_stored
from service.domain.notice import Outcome
from service.domain.order import Closed
from service.domain.payment import Payment
from service.domain.settle import settle
from service.domain.terms import awaits_deposit, is_over, money_came
from service.errors import DepositAwaited, MoneyCame, PortOneNotAsked, VersionMoved
from service.usecases.archiving import why_unknown
from service.usecases.asking import Asking
from service.usecases.terms import lock_and_read, read_registered


@dataclass(frozen=True, slots=True)
class Override:
    """A person's word that an order is to be withdrawn without asking PortOne, and whatever may be on its way."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """Withdraws orders, once PortOne was asked for their payments."""

    pool: Pool
    asking: Asking
    allow_test_channel: bool
    grace: timedelta

    async def withdraw(
        self, merchant_uid: str, versions: Set[int] | None, wait_seconds: float, override: Override | None = None
    ) -> OrderView:
        """Close an order that nobody paid; one that is closed stays as it is. `versions` None: any.

        Raises OrderArchived, OrderNotRegistered, VersionMoved, MoneyCame, DepositAwaited, PortOneNotAsked, Overloaded
        or PostgresUnavailable.
        """
        is_closed = await in_transaction(self.pool, self._check, merchant_uid, versions)
        if not is_closed and override is None:
            searched = await self.asking.ask(merchant_uid, wait_seconds)
            if searched is None or searched.outcome is not Outcome.LOOKED:
                raise PortOneNotAsked
        return await in_transaction(self.pool, self._close, merchant_uid, versions, override)

    async def _check(self, db: Connection, merchant_uid: str, versions: Set[int] | None) -> bool:
        """Return whether the order is closed. What refuses it already costs no question."""
        for order in await orders.read(db, [merchant_uid], allow_test_channel=self.allow_test_channel):
            if order.terms.closed is None:
                _refuse(order, versions, await payments.of_orders(db, [merchant_uid]))
            return order.terms.closed is not None
        raise await why_unknown(db, merchant_uid)

    async def _close(
        self, db: Connection, merchant_uid: str, versions: Set[int] | None, override: Override | None
    ) -> OrderView:
        order, stored = await lock_and_read(db, merchant_uid, allow_test_channel=self.allow_test_channel)
        if order.terms.closed is None:
            _refuse(order, versions, stored)
            now = await terms.now(db)
            if override is None and awaits_deposit(order.terms, order.expires_at, stored, now - self.grace):
                raise DepositAwaited
            await _write(db, order, stored, Closed.WITHDRAWN, override)
        return await read_registered(db, merchant_uid)


async def expire(
    db: Connection, merchant_uids: Sequence[str], grace: timedelta, *, allow_test_channel: bool
) -> list[str]:
    """Close those of the orders whose time is over; return them. PortOne was asked about them just now.

    The caller commits. Name at most a few hundred: each is a lock in Postgres' table of locks until then.
    """
    await orders.lock(db, merchant_uids)
    of_order = defaultdict(list)
    for payment in await payments.of_orders(db, merchant_uids):
        of_order[payment.merchant_uid].append(payment)
    now, expired = await terms.now(db), []
    for order in await orders.read(db, merchant_uids, allow_test_channel=allow_test_channel):
        stored = of_order[order.terms.merchant_uid]
        if is_over(order, order.expires_at, stored, now, grace):
            await _write(db, order, stored, Closed.EXPIRED)
            expired.append(order.terms.merchant_uid)
    return expired


def _refuse(order: StoredOrder, versions: Set[int] | None, stored: Sequence[Payment]) -> None:
    if versions is not None and order.version not in versions:
        raise VersionMoved
    if money_came(order.terms, stored):
        raise MoneyCame


async def _write(
    db: Connection, before: StoredOrder, stored: Sequence[Payment], closed: Closed, override: Override | None = None
) -> None:
    changed = replace(before.terms, closed=closed)
    cause = Cause.EXPIRY if closed is Closed.EXPIRED else Cause.WITHDRAWAL
    who, why = (override.who, override.why) if override else (None, None)
    after = replace(before, terms=changed, settlement=settle(changed, stored))
    await terms.rewrite(db, before, after, of_stored(cause, stored, who, why))
    if override:
        await operator_actions.append(db, override.who, override.why, "orders.withdraw", [changed.merchant_uid])
