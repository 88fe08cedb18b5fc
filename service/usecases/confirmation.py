"""`confirm_url`: PortOne asks, just before it approves, and fails the payment unless it hears 200 in time.

Answered from Postgres alone, and from the shop's own stock hook where there is one: a question, never a
reservation. Whoever cannot be asked in time leaves us unsure, and then a setting decides.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from service.db import orders
from service.db.pool import Connection, Pool, in_transaction
from service.domain.confirm import ConfirmationRefusal, Payable, Question, Refused, refusal
from service.domain.order import Order
from service.errors import PostgresUnavailable, Unsure

log = structlog.get_logger()

# With the hook's second, and the reading of the request, within the 2 s that are promised.
_POSTGRES_SECONDS = 0.6


class Stock(Protocol):
    """The shop's hook."""

    async def refuses(self, question: Question, order: Order) -> Refused | None:
        """Why the shop does not want this payment, if so. Raises Unsure."""
        ...


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Says whether a payment may go on."""

    pool: Pool
    stock: Stock | None
    allow_when_unsure: bool

    async def confirm(self, question: Question) -> Refused | None:
        """Why not, or None: it may. Takes less than 2 s, whoever is away."""
        try:
            return await self._confirm(question)
        except Unsure as reason:
            log.warning("confirmation.unsure", reason=str(reason), allowed=self.allow_when_unsure)
            return None if self.allow_when_unsure else Refused(ConfirmationRefusal.UNSURE)

    async def _confirm(self, question: Question) -> Refused | None:
        order = await self._order(question.merchant_uid)
        why = refusal(order, question.amount, datetime.now(UTC))
        if why is not None:
            return Refused(why)
        return await self.stock.refuses(question, order.terms) if self.stock and order else None

    async def _order(self, merchant_uid: str) -> Payable | None:
        asking = asyncio.create_task(in_transaction(self.pool, _payable, merchant_uid))
        # Not `timeout`: a Postgres that fell silent also keeps whoever takes his question back waiting.
        done, _ = await asyncio.wait({asking}, timeout=_POSTGRES_SECONDS)
        if not done:
            asking.add_done_callback(_let_go)
            asking.cancel()
            raise Unsure("Postgres takes too long")
        try:
            return asking.result()
        except PostgresUnavailable:
            raise Unsure("Postgres is away") from None


def _let_go(asking: asyncio.Task[Payable | None]) -> None:
    """What came of it interests nobody any more."""
    if not asking.cancelled():
        asking.exception()


async def _payable(db: Connection, merchant_uid: str) -> Payable | None:
    for stored in await orders.read(db, [merchant_uid], allow_test_channel=False):
        return Payable(stored.terms, stored.settlement.state, stored.closed, stored.expires_at)
    return None
