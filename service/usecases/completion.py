"""A completion call: a browser says that a payment was made, and waits for the verified answer.

It names the payment or, where the browser came back without an imp_uid, the order alone.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.db import completion_facts
from service.db.completion_facts import OrderFacts, PaymentFacts
from service.db.pool import Pool, in_statement
from service.domain.completion import CompletionAnswer, Reply, Unsettled, Verified, order_reply, reply
from service.domain.notice import Notice
from service.domain.order import State
from service.errors import NothingRecorded, Overloaded, PostgresUnavailable
from service.redis.waiters import Looked, TooManyWaiters, Waiters, order_key
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake
from service.usecases.search_requests import SearchRequests


@dataclass(frozen=True, slots=True)
class Completed:
    """An answer, and the order that it is about: the caller's word where there is one, else PortOne's."""

    answer: CompletionAnswer
    merchant_uid: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that waits for a final answer. `gave_up`: the browser says that the payment failed."""

    client: str
    seconds: float
    gave_up: bool = False

    def has_heard(self, reply: Reply) -> bool:
        """Say whether waiting longer would bring nothing: a window that the buyer has left stays open at PortOne."""
        return reply.final or (self.gave_up and reply.answer is Unsettled.WINDOW_OPEN)


# A look takes some milliseconds. A read before it mostly finds nothing, and costs as much as the one after it.
_USUAL_LOOK_SECONDS = 0.05
_NOT_YET = Reply(Unsettled.NOT_LOOKED_YET, final=False)

Read = Callable[[], Awaitable[tuple[Reply, Completed]]]


class Completion:
    """Completion calls: each records a notice or requests a search, then waits for what it brings.

    Answers that are read while one statement is under way share the next. `pool` is their own.
    """

    def __init__(
        self,
        pool: Pool,
        intake: Intake,
        searches: SearchRequests,
        waiters: Waiters,
        bounds: BatchBounds,
        *,
        allow_test_channel: bool,
    ) -> None:
        self._pool = pool
        self._intake = intake
        self._searches = searches
        self._waiters = waiters
        self._allow_test_channel = allow_test_channel
        self.batches = Coalescer[tuple[UUID, str], PaymentFacts](self._of_payments, bounds)
        self.order_batches = Coalescer[tuple[str, datetime | None], OrderFacts](self._of_orders, bounds)

    async def complete(self, notice: Notice, caller: Caller) -> Completed:
        """Answer about a payment, within the wait. Raises NothingRecorded when the notice could not be accepted."""
        with self._waiting_for(notice.imp_uid, caller) as looked:
            receipt = await self._intake.accept(notice, caller.client)
            return await _watch(lambda: self._read(notice, receipt.row_id, looked), looked, caller)

    async def complete_order(self, merchant_uid: str, caller: Caller) -> Completed:
        """Answer about an order of which no payment is named, within the wait. Raises NothingRecorded.

        PortOne is asked by the order's number, unless the order has been paid.
        """
        try:
            reply, completed = await self._stored_order(merchant_uid, None)
            if reply.final:
                return completed
            with self._waiting_for(order_key(merchant_uid), caller) as looked:
                wanted_at = await self._searches.want(merchant_uid)
                return await _watch(lambda: self._read_order(merchant_uid, wanted_at), looked, caller)
        except (PostgresUnavailable, Overloaded) as error:
            raise NothingRecorded(str(error)) from error

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.batches.close()
        await self.order_batches.close()

    @contextlib.contextmanager
    def _waiting_for(self, key: str, caller: Caller) -> Iterator[Looked | None]:
        """Yield the event to wait for, or None where too many calls wait already."""
        with contextlib.ExitStack() as stack:
            looked = None
            if caller.seconds:
                with contextlib.suppress(TooManyWaiters):
                    looked = stack.enter_context(self._waiters.waiting_for(key, caller.client))
            yield looked

    async def _read(self, notice: Notice, row_id: UUID | None, looked: Looked | None) -> tuple[Reply, Completed]:
        """Return the answer that the worker has just stored, or read it; without Postgres nothing can be said yet."""
        if looked is not None and looked.reached is not None:
            named, state = looked.reached
            if notice.merchant_uid in (None, named):
                verified = Verified(State(state))
                return Reply(verified, final=True), Completed(verified, named)
        if row_id is None:
            return _NOT_YET, Completed(_NOT_YET.answer, notice.merchant_uid)
        try:
            facts = await self.batches.join((row_id, notice.imp_uid))
        except (PostgresUnavailable, Overloaded):
            return _NOT_YET, Completed(_NOT_YET.answer, notice.merchant_uid)
        stored = reply(notice.merchant_uid, facts.payment, facts.order, facts.outcome)
        merchant_uid = notice.merchant_uid or (facts.payment.merchant_uid if facts.payment else None)
        return stored, Completed(stored.answer, merchant_uid)

    async def _read_order(self, merchant_uid: str, wanted_at: datetime | None) -> tuple[Reply, Completed]:
        try:
            return await self._stored_order(merchant_uid, wanted_at)
        except (PostgresUnavailable, Overloaded):
            return _NOT_YET, Completed(_NOT_YET.answer, merchant_uid)

    async def _stored_order(self, merchant_uid: str, wanted_at: datetime | None) -> tuple[Reply, Completed]:
        facts = await self.order_batches.join((merchant_uid, wanted_at))
        stored = order_reply(facts.order, facts.searched)
        return stored, Completed(stored.answer, merchant_uid)

    async def _of_payments(self, asked: Sequence[tuple[UUID, str]]) -> Sequence[PaymentFacts]:
        return await in_statement(
            self._pool, completion_facts.of_payments, asked, allow_test_channel=self._allow_test_channel
        )

    async def _of_orders(self, asked: Sequence[tuple[str, datetime | None]]) -> Sequence[OrderFacts]:
        return await in_statement(
            self._pool, completion_facts.of_orders, asked, allow_test_channel=self._allow_test_channel
        )


async def _watch(read: Read, looked: asyncio.Event | None, caller: Caller) -> Completed:
    """Read when a look was written or is late, and again at each look until the answer is final or the wait is over."""
    if looked is not None:
        await _look(looked, min(_USUAL_LOOK_SECONDS, caller.seconds))
    reply, completed = await read()
    if looked is None or caller.has_heard(reply):
        return completed
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(caller.seconds):
            while not caller.has_heard(reply):
                await looked.wait()
                looked.clear()
                reply, completed = await read()
            return completed
    return (await read())[1]


async def _look(looked: asyncio.Event, seconds: float) -> None:
    """Wait for a look to be written, at most for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await looked.wait()
            looked.clear()
