"""A completion call: a browser says that a payment was made, and waits for the verified answer."""

import asyncio
import contextlib
from dataclasses import dataclass
from uuid import UUID

from service.db import notices, orders, payments
from service.db.pool import Connection, Pool, in_transaction
from service.domain.completion import CompletionAnswer, Reply, Unsettled, reply
from service.domain.notice import Notice
from service.errors import PostgresUnavailable
from service.redis.waiters import TooManyWaiters, Waiters
from service.usecases.intake import Intake


@dataclass(frozen=True, slots=True)
class Completed:
    """An answer, and the order that it is about: the caller's word where there is one, else PortOne's."""

    answer: CompletionAnswer
    merchant_uid: str | None


@dataclass(frozen=True, slots=True)
class Completion:
    """Completion calls: each records a notice like any other, then waits for its look."""

    pool: Pool
    intake: Intake
    waiters: Waiters
    allow_test_channel: bool

    async def complete(self, notice: Notice, wait_seconds: float) -> Completed:
        """Answer within the wait. Raises NothingRecorded when the notice could not be accepted at all."""
        try:
            with self.waiters.waiting_for(notice.imp_uid) as looked:
                receipt = await self.intake.accept(notice)
                return await self._watch(notice, receipt.row_id, looked, wait_seconds)
        except TooManyWaiters:
            receipt = await self.intake.accept(notice)
            return (await self._read(notice, receipt.row_id))[1]

    async def _watch(
        self, notice: Notice, row_id: UUID | None, looked: asyncio.Event, wait_seconds: float
    ) -> Completed:
        reply, completed = await self._read(notice, row_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                while not reply.final:
                    await looked.wait()
                    looked.clear()
                    reply, completed = await self._read(notice, row_id)
        return completed if reply.final else (await self._read(notice, row_id))[1]

    async def _read(self, notice: Notice, row_id: UUID | None) -> tuple[Reply, Completed]:
        """Read the answer from what is stored; without Postgres nothing can be said yet."""
        not_yet = Reply(Unsettled.NOT_LOOKED_YET, final=False)
        if row_id is None:
            return not_yet, Completed(not_yet.answer, notice.merchant_uid)
        try:
            return await in_transaction(self.pool, self._stored, notice, row_id)
        except PostgresUnavailable:
            return not_yet, Completed(not_yet.answer, notice.merchant_uid)

    async def _stored(self, db: Connection, notice: Notice, row_id: UUID) -> tuple[Reply, Completed]:
        payment = await payments.one(db, notice.imp_uid)
        rows = (
            await orders.read(db, [payment.merchant_uid], allow_test_channel=self.allow_test_channel) if payment else []
        )
        outcome = await notices.outcome(db, row_id)
        stored = reply(notice.merchant_uid, payment, rows[0].terms if rows else None, outcome)
        merchant_uid = notice.merchant_uid or (payment.merchant_uid if payment else None)
        return stored, Completed(stored.answer, merchant_uid)
