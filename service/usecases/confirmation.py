"""The answer to `confirm_url`: PortOne asks just before it approves, and fails the payment unless it hears 200 in time.

It comes from Postgres, and from the shop's own stock hook where there is one, which reserves nothing. Where one of
them cannot be asked in time, a setting decides.
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

# Together with the hook's second and the reading of the request this keeps the 2 s that are promised.
_POSTGRES_SECONDS = 0.6


class Stock(Protocol):
    """The shop's hook."""

    async def refuses(self, question: Question, order: Order) -> Refused | None:
        """Return the shop's refusal, or None. Raises Unsure."""
        ...


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The decision whether a payment may go on."""

    pool: Pool
    stock: Stock | None
    allow_when_unsure: bool

    async def confirm(self, question: Question) -> Refused | None:
        """Return the refusal, or None: the payment may go on. Takes less than 2 s, whatever is away."""
        try:
            return await self._confirm(question)
        except Unsure as reason:
            log.warning("confirmation.unsure", reason=str(reason), allowed=self.allow_when_unsure)
            return None if self.allow_when_unsure else Refused(ConfirmationRefusal.UNSURE)

    async def _confirm(self, question: Question) -> Refused | None:
        order = await self._order(question.merchant_uid)
        reason = refusal(order, question.amount, datetime.now(UTC))
        if reason is not None:
            return Refused(reason)
        return await self.stock.refuses(question, order.terms) if self.stock and order else None

    async def _order(self, merchant_uid: str) -> Payable | None:
        query = asyncio.create_task(in_transaction(self.pool, _payable, merchant_uid))
        # asyncio.wait, not timeout: cancelling a query blocks until Postgres answers, and a hung Postgres never does.
        done, _ = await asyncio.wait({query}, timeout=_POSTGRES_SECONDS)
        if not done:
            query.add_done_callback(_let_go)
            query.cancel()
            raise Unsure("Postgres takes too long")
        try:
            return query.result()
        except PostgresUnavailable:
            raise Unsure("Postgres is away") from None


def _let_go(query: asyncio.Task[Payable | None]) -> None:
    """Drop the result of a query that nobody waits for."""
    if not query.cancelled():
        query.exception()


async def _payable(db: Connection, merchant_uid: str) -> Payable | None:
    for stored in await orders.read(db, [merchant_uid], allow_test_channel=False):
        return Payable(stored.terms, stored.settlement.state, stored.closed, stored.expires_at)
    return None
