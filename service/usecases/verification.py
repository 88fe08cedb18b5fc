"""Verification: claim notices, look at their payments, write what that means (docs/design.md §3, Worker).

`workers/verify.py` puts the three steps together for the queue, `Verifier.verify` for a use case that needs a look.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from service.db import archives, looks, orders, payments
from service.db.looks import Claim
from service.db.pool import (
    Connection,
    Pool,
    in_statement_on,
    in_transaction_on,
    one_connection,
    try_statement_on,
)
from service.domain.judgement import NOTHING_STORED, Judgement, LookResult, Unanswered, judge
from service.domain.notice import BACKGROUND, OpenNotice, Outcome
from service.domain.order import VersionedOrder
from service.domain.payment import Payment, Store
from service.domain.timetable import Timetable
from service.domain.unreadable import UnreadablePayment
from service.portone.looks import Asks, look
from service.redis.budget import Budget, Lane
from service.redis.queue import Queue
from service.tracing import Tracing
from service.usecases.announcing import announce
from service.usecases.look_counts import LookCounts

# Live work waits for its place in the budget, within the lease; other work comes again later.
_BUDGET_WAIT_SECONDS = 1.0
_NO_BUDGET = Unanswered(Outcome.PORTONE_UNAVAILABLE, "the budget of calls is used up")
_NOT_CONFIGURED = Unanswered(Outcome.STORE_NOT_CONFIGURED, "the store is not in PORTONE_ACCOUNTS or PORTONE_TIERS")
# An account whose PortOne is slow has at most this many looks under way, of the eight that a worker runs side by side:
# the others' notices are looked at meanwhile, and what finds no place comes again.
_LOOKS_OF_AN_ACCOUNT = 6
_TOO_SLOW = Unanswered(Outcome.PORTONE_UNAVAILABLE, "the account's other looks take too long")


def _places() -> Mapping[str, asyncio.Semaphore]:
    return defaultdict(lambda: asyncio.Semaphore(_LOOKS_OF_AN_ACCOUNT))


@dataclass(frozen=True, slots=True)
class Answers:
    """PortOne's answers in one store: the notices that the look was for, and each payment's result by imp_uid.

    `at` is the time of the answer, by `time.monotonic`.
    """

    notices: Sequence[OpenNotice]
    results: Mapping[str, LookResult]
    at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def payments(self) -> list[Payment]:
        return [result for result in self.results.values() if isinstance(result, Payment)]

    @property
    def unreadable(self) -> list[UnreadablePayment]:
        return [result for result in self.results.values() if isinstance(result, UnreadablePayment)]

    @property
    def named(self) -> dict[str, str]:
        """The order that each payment names, by imp_uid, where that can be read."""
        every: list[Payment | UnreadablePayment] = [*self.payments, *self.unreadable]
        return {payment.imp_uid: payment.merchant_uid for payment in every if payment.merchant_uid is not None}

    def about(self, imp_uids: Sequence[str]) -> "Answers":
        """Return the answers about these payments alone."""
        if len(imp_uids) == len(self.results):
            return self
        results = {imp_uid: self.results[imp_uid] for imp_uid in imp_uids}
        return Answers([notice for notice in self.notices if notice.imp_uid in results], results, self.at)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies notices. `accounts` holds a client for each PortOne account; `stores` None: any tier of theirs."""

    pool: Pool
    accounts: Mapping[str, Asks]
    budget: Budget
    allow_test_channel: bool = False
    times: Timetable = field(default_factory=Timetable)
    stores: Set[Store] | None = None
    places: Mapping[str, asyncio.Semaphore] = field(default_factory=_places)
    # Announces the orders that `verify` has changed.
    queue: Queue | None = None
    counts: LookCounts = field(default_factory=LookCounts)
    tracing: Tracing | None = None

    async def verify(self, ids: Sequence[UUID]) -> Judgement:
        """Look once for the whole batch, write what it means, and return that. Raises PostgresUnavailable."""
        judgement = Judgement()
        async with one_connection(self.pool) as connection:
            claim = await self.claim(connection, ids)
            async with aclosing(self.look(claim.to_look)) as answered:
                async for answers in answered:
                    judgement += await self.write(connection, claim, answers)
        if self.queue:
            await announce(self.queue, [order.terms.merchant_uid for order, _ in judgement.changes])
        return judgement

    async def claim(self, connection: Connection, ids: Sequence[UUID]) -> Claim:
        """Claim what needs a look, drawing the look's ticket."""
        allow = self.allow_test_channel
        claim = await in_statement_on(connection, looks.claim, ids, self.times, allow_test_channel=allow)
        self.counts.count_served(claim.served)
        return claim

    async def look(self, claimed: Sequence[OpenNotice]) -> AsyncGenerator[Answers, None]:
        """Ask PortOne in each store at once, and yield each store's answers as they come. Close it when done."""
        by_store: dict[Store, list[OpenNotice]] = defaultdict(list)
        for notice in claimed:
            by_store[notice.store].append(notice)
        if len(by_store) == 1:
            [(store, notices)] = by_store.items()
            yield await self._look_in(store, notices)
            return
        asking = [asyncio.create_task(self._look_in(store, notices)) for store, notices in by_store.items()]
        try:
            for answers in asyncio.as_completed(asking):
                yield await answers
        finally:
            for task in asking:
                task.cancel()

    async def _look_in(self, store: Store, notices: Sequence[OpenNotice]) -> Answers:
        """Look in the notices' store, and where it does not know a payment, in the store that its notice hints at."""
        results = await self._ask(store, notices)
        elsewhere = defaultdict(list)
        for notice in notices:
            if notice.hint is not None and results[notice.imp_uid] is None:
                elsewhere[notice.hint].append(notice)
        for hint, unknown in elsewhere.items():
            results |= await self._ask(hint, unknown)
        return Answers(notices, results)

    async def _ask(self, store: Store, notices: Sequence[OpenNotice]) -> dict[str, LookResult]:
        imp_uids = sorted({notice.imp_uid for notice in notices})
        portone, places = self.accounts.get(store.account), self.places[store.account]
        if portone is None or (self.stores is not None and store not in self.stores):
            return dict.fromkeys(imp_uids, _NOT_CONFIGURED)
        if places.locked():
            return dict.fromkeys(imp_uids, _TOO_SLOW)
        async with places:
            lane = min((_lane(notice) for notice in notices), key=list(Lane).index)
            wait_seconds = _BUDGET_WAIT_SECONDS if lane is Lane.LIVE else 0.0
            if not await self.budget.take(lane, wait_seconds, store.account):
                return dict.fromkeys(imp_uids, _NO_BUDGET)
            return await look(portone, imp_uids, store)

    async def write(self, connection: Connection, claim: Claim, answers: Answers) -> Judgement:
        """Write what the answers mean, and return it."""
        judgement = await self._write(connection, claim, answers)
        self.counts.count(judgement, claim.at)
        if self.tracing:
            self.tracing.looked_at(judgement, claim.at, answers.at)
        return judgement

    async def _write(self, connection: Connection, claim: Claim, answers: Answers) -> Judgement:
        """Write what the answers mean.

        Where nothing was stored of these orders' payments, one statement takes the orders' locks, compares and writes.
        Anything else, and what that statement finds changed, is decided under the locks.
        """
        merchant_uids = sorted(set(answers.named.values()))
        if merchant_uids and not answers.unreadable and claim.fresh.keys() >= set(merchant_uids):
            read = [claim.fresh[merchant_uid] for merchant_uid in merchant_uids]
            judgement = judge(answers.notices, answers.results, claim.ticket, NOTHING_STORED, read, self.times)
            if await try_statement_on(connection, looks.write_if_unchanged, read, judgement, self.times):
                return judgement
        return await in_transaction_on(connection, self._write_under_locks, claim.ticket, answers, merchant_uids)

    async def _write_under_locks(
        self, db: Connection, ticket: int, answers: Answers, merchant_uids: Sequence[str]
    ) -> Judgement:
        stored, of_orders, archived = NOTHING_STORED, list[VersionedOrder](), frozenset[str]()
        if merchant_uids:
            await orders.lock(db, merchant_uids)
            stored = await payments.lock(db, merchant_uids, list(answers.named))
            of_orders = await orders.settled(db, merchant_uids, allow_test_channel=self.allow_test_channel)
            if len(of_orders) < len(merchant_uids):
                archived = frozenset(await archives.find(db, merchant_uids))
        judgement = judge(answers.notices, answers.results, ticket, stored, of_orders, self.times, archived)
        await looks.write(db, merchant_uids, judgement, self.times)
        return judgement


def _lane(notice: OpenNotice) -> Lane:
    """Return whose share of the budget a notice's look uses. A batch is one call, in the best lane of its notices."""
    if notice.source in BACKGROUND:
        return Lane.BACKGROUND
    return Lane.UNREGISTERED if notice.gives_way else Lane.LIVE
