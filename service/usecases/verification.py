"""Verification: claim notices, look at their payments, write what that means (docs/design.md §3, Worker).

`workers/verify.py` puts the three steps together for the queue; `Verifier.verify` does for whoever asks in passing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from service.db import looks, orders, payments
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
from service.domain.notice import OpenNotice, Outcome, Source
from service.domain.order import VersionedOrder
from service.domain.payment import Payment, Store
from service.domain.timetable import Timetable
from service.errors import AccountNotConfigured
from service.portone.looks import Asks, look, unanswered
from service.redis.budget import Budget, Lane

# Live work waits for its place in the budget, within the lease; other work comes again later.
_BUDGET_WAIT_SECONDS = 1.0
_NO_BUDGET = Unanswered(Outcome.PORTONE_UNAVAILABLE, "the budget of calls is used up")


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies notices. `accounts` holds a client for each PortOne account."""

    pool: Pool
    accounts: Mapping[str, Asks]
    budget: Budget
    allow_test_channel: bool = False
    times: Timetable = field(default_factory=Timetable)

    async def verify(self, ids: Sequence[UUID]) -> Judgement:
        """Look once for the whole batch, write what it means, and return that. Raises PostgresUnavailable."""
        async with one_connection(self.pool) as connection:
            claim = await self.claim(connection, ids)
            results = await self.look(claim.to_look)
            return await self.write(connection, claim, results)

    async def claim(self, connection: Connection, ids: Sequence[UUID]) -> Claim:
        """Claim what needs a look, drawing the look's ticket."""
        allow = self.allow_test_channel
        return await in_statement_on(connection, looks.claim, ids, self.times, allow_test_channel=allow)

    async def look(self, claimed: Sequence[OpenNotice]) -> dict[str, LookResult]:
        """Ask PortOne, grouped by account and tier; return each payment's result by imp_uid.

        A payment that was asked for in several stores has the answer of the store that knows it.
        """
        by_store: dict[Store, list[OpenNotice]] = defaultdict(list)
        for notice in claimed:
            by_store[notice.store].append(notice)
        answers = await asyncio.gather(*(self._look_in(store, group) for store, group in by_store.items()))
        results: dict[str, LookResult] = {}
        for imp_uid, result in (item for answer in answers for item in answer.items()):
            if not isinstance(results.get(imp_uid), Payment):
                results[imp_uid] = result if result is not None else results.get(imp_uid)
        return results

    async def _look_in(self, store: Store, group: Sequence[OpenNotice]) -> dict[str, LookResult]:
        imp_uids = sorted({notice.imp_uid for notice in group})
        if (portone := self.accounts.get(store.account)) is None:
            return dict.fromkeys(imp_uids, unanswered(AccountNotConfigured(store.account)))
        lane = min((_lane(notice) for notice in group), key=list(Lane).index)
        if not await self.budget.take(lane, _BUDGET_WAIT_SECONDS if lane is Lane.LIVE else 0.0, store.account):
            return dict.fromkeys(imp_uids, _NO_BUDGET)
        return await look(portone, imp_uids, store)

    async def write(self, connection: Connection, claim: Claim, results: Mapping[str, LookResult]) -> Judgement:
        """Write what the results mean, and return it.

        Where nothing was stored of these orders' payments, one statement takes the orders' locks, compares and writes.
        Anything else, and what that statement finds changed, is decided under the locks.
        """
        if not claim.to_look:
            return Judgement()
        merchant_uids = sorted({found.merchant_uid for found in results.values() if isinstance(found, Payment)})
        if merchant_uids and claim.fresh.keys() >= set(merchant_uids):
            read = [claim.fresh[merchant_uid] for merchant_uid in merchant_uids]
            judgement = judge(claim.to_look, results, claim.ticket, NOTHING_STORED, read, self.times)
            if await try_statement_on(connection, looks.write_if_unchanged, read, judgement, self.times):
                return judgement
        return await in_transaction_on(connection, self._write_under_locks, claim, results, merchant_uids)

    async def _write_under_locks(
        self, db: Connection, claim: Claim, results: Mapping[str, LookResult], merchant_uids: Sequence[str]
    ) -> Judgement:
        stored, of_orders = NOTHING_STORED, list[VersionedOrder]()
        if merchant_uids:
            await orders.lock(db, merchant_uids)
            imp_uids = [imp_uid for imp_uid, result in results.items() if isinstance(result, Payment)]
            stored = await payments.lock(db, merchant_uids, imp_uids)
            of_orders = await orders.settled(db, merchant_uids, allow_test_channel=self.allow_test_channel)
        judgement = judge(claim.to_look, results, claim.ticket, stored, of_orders, self.times)
        await looks.write(db, merchant_uids, judgement, self.times)
        return judgement


def _lane(notice: OpenNotice) -> Lane:
    """Return whose share of the budget a notice's look uses. A batch is one call, in the best lane of its notices."""
    if notice.source is Source.RECONCILE:
        return Lane.BACKGROUND
    return Lane.LIVE if notice.registered else Lane.UNREGISTERED
