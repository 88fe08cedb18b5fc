"""Rechecking an order: PortOne is asked now for all its payments, whatever notices have said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.db import payments, searches
from service.db.order_views import OrderView
from service.db.pool import Connection, Pool, in_snapshot
from service.domain.completion import Searched, Unsettled, why_not_asked
from service.domain.payment import Payment
from service.errors import OrderNotRegistered
from service.usecases.asking import Asking
from service.usecases.reading import Reading
from service.usecases.terms import read_registered

# An order may have thousands of payments.
_PAYMENTS_MAX = 50


@dataclass(frozen=True, slots=True)
class Rechecked:
    """An order as it stands once PortOne was asked, at `asked_at`.

    `changed`: it has another version than before the call. `payments` are those that count, the newest first, without
    those that cannot be read. `window_open`: its newest payment is a window that is still open.
    """

    view: OrderView
    changed: bool
    asked_at: datetime
    window_open: bool
    payments: Sequence[Payment]


@dataclass(frozen=True, slots=True)
class Rechecks:
    """Rechecks orders. `pool` serves the last read, which is of one order by itself."""

    pool: Pool
    reading: Reading
    asking: Asking

    async def recheck(self, merchant_uid: str, wait_seconds: float) -> Rechecked | Unsettled:
        """Have PortOne asked, and return what came of it, or why nothing did within the wait.

        The worker goes on after the wait. Raises OrderNotRegistered, Overloaded or PostgresUnavailable.
        """
        before = await self.reading.read(merchant_uid)
        if before is None:
            raise OrderNotRegistered
        searched = await self.asking.ask(merchant_uid, wait_seconds)
        if reason := why_not_asked(searched):
            return reason
        return await in_snapshot(self.pool, _read, merchant_uid, before.order.version, searched)


async def _read(db: Connection, merchant_uid: str, version: int, searched: Searched | None) -> Rechecked:
    view = await read_registered(db, merchant_uid)
    counting = [payment for payment in await payments.of_orders(db, [merchant_uid]) if not payment.unreadable]
    return Rechecked(
        view,
        changed=view.order.version != version,
        asked_at=await searches.last_began_at(db, merchant_uid),
        window_open=searched is not None and searched.window_open,
        payments=sorted(counting, key=_newest_first)[:_PAYMENTS_MAX],
    )


def _newest_first(payment: Payment) -> tuple[float, str]:
    return -payment.started_at.timestamp() if payment.started_at else 0.0, payment.imp_uid
