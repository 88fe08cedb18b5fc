"""The answer to `confirm_url`: PortOne asks just before it approves, and fails the payment unless it hears 200 in time.

It comes from Postgres, and from the shop's own stock hook where there is one, which reserves nothing. Where one of
them cannot be asked in time, a setting decides. Questions that arrive together share one statement, on connections
that nothing else uses, so that no crowd of other callers keeps PortOne waiting.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from service.db import orders
from service.db.pool import Pool, answered_within, in_statement
from service.domain.confirm import ConfirmationRefusal, NotPayable, Payable, Question, Refused, reason_not_payable
from service.domain.order import Order
from service.errors import Overloaded, PostgresUnavailable, Unsure
from service.usecases.coalescing import BatchBounds, Coalescer

log = structlog.get_logger()

# Together with the hook's second and the reading of the request this keeps the 2 s that are promised.
_POSTGRES_SECONDS = 0.6
# asyncpg closes a connection that was idle for 300 s, and a firewall forgets one.
_KEPT_SECONDS = 60.0


class Stock(Protocol):
    """The shop's hook."""

    async def refuses(self, question: Question, order: Order, *, from_portone: bool) -> Refused | None:
        """Return the shop's refusal, or None. Raises Unsure."""
        ...


class Confirmation:
    """The decision whether a payment may go on. `pool` is its own."""

    def __init__(self, pool: Pool, bounds: BatchBounds, stock: Stock | None, *, allow_when_unsure: bool) -> None:
        self._pool = pool
        self._connections = bounds.runs
        self._stock = stock
        self._allow_when_unsure = allow_when_unsure
        self.batches = Coalescer[str, Payable | None](self._read, bounds)

    async def keep_connections(self) -> None:
        """Keep connections open and alive, for as long as the process lives: a new one takes time from an answer."""
        while True:
            reads = (in_statement(self._pool, orders.payable, []) for _ in range(self._connections))
            await asyncio.gather(*reads, return_exceptions=True)
            await asyncio.sleep(_KEPT_SECONDS)

    async def confirm(self, question: Question, *, from_portone: bool = False) -> Refused | None:
        """Return the refusal, or None: the payment may go on. Takes less than 2 s, whatever is away."""
        try:
            return await self._confirm(question, from_portone)
        except Unsure as reason:
            log.warning("confirmation.unsure", reason=str(reason), allowed=self._allow_when_unsure)
            return None if self._allow_when_unsure else Refused(ConfirmationRefusal.UNSURE)

    async def _confirm(self, question: Question, from_portone: bool) -> Refused | None:
        order = await self._order(question.merchant_uid)
        reason = reason_not_payable(order, question.amount, datetime.now(UTC))
        if reason is not None:
            return _refused(question, reason)
        if self._stock is None or order is None:
            return None
        return await self._stock.refuses(question, order.terms, from_portone=from_portone)

    async def _order(self, merchant_uid: str) -> Payable | None:
        try:
            return await answered_within(_POSTGRES_SECONDS, self.batches.join(merchant_uid))
        except (PostgresUnavailable, Overloaded) as error:
            raise Unsure(str(error)) from None

    async def _read(self, merchant_uids: Sequence[str]) -> Sequence[Payable | None]:
        stored = await answered_within(_POSTGRES_SECONDS, in_statement(self._pool, orders.payable, merchant_uids))
        return [stored.get(merchant_uid) for merchant_uid in merchant_uids]


def _refused(question: Question, reason: NotPayable) -> Refused:
    """Tell the log the reason, and the caller that there is one. Invented numbers do not reach the log."""
    known = None if reason is NotPayable.NOT_REGISTERED else question.merchant_uid
    log.info("confirmation.refused", merchant_uid=known, reason=reason.value)
    return Refused(ConfirmationRefusal.NOT_PAYABLE)
