"""The heart: notices → looks → settlements → Postgres (DESIGN.md §3, Worker).

Claim what is due, look with no transaction open, then write what it means in one short transaction. A payment that
nobody has seen, of an order as it was registered, leaves nothing to decide on the way: its claim and its write are a
trip to Postgres each (docs/decisions/0015-one-trip.md).
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from service.db import looks, notices, orders, payments
from service.db.notices import OpenNotice
from service.db.orders import VersionedOrder
from service.db.payments import NOTHING
from service.db.pool import (
    Connection,
    Pool,
    in_statement_on,
    in_transaction_on,
    one_connection,
    try_statement_on,
)
from service.domain.notice import Outcome, Source, is_served_by
from service.domain.payment import Payment, Store
from service.domain.timetable import Timetable
from service.errors import AccountNotConfigured, NotAsked, PortOneUnavailable
from service.portone.looks import Asks, LookResult, look
from service.redis.budget import Budget, Lane
from service.usecases.judgement import Answered, Judgement, Later

# Live work waits for its turn, within the lease; other work comes again later.
_BUDGET_WAIT_SECONDS = 1.0
# What comes back this soon is queued at once for then; the sweep, every 2 s, would come late.
_QUEUED_UP_TO = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a claim decided: what needs a look, what is answered by what is stored, and what comes too soon.

    `fresh`: orders, by merchant_uid, of whose payments nothing was stored.
    """

    to_look: list[OpenNotice] = field(default_factory=list)
    served: list[OpenNotice] = field(default_factory=list)
    too_soon: list[Later] = field(default_factory=list)
    fresh: Mapping[str, VersionedOrder] = field(default_factory=dict)
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a batch: the payments whose waiters are to be told, what is to be queued again, counts."""

    told: tuple[str, ...] = ()
    again: tuple[UUID, ...] = ()
    again_in: timedelta = timedelta()
    looked: int = 0
    stored: int = 0
    changed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Verifier:
    """Settles notices. `accounts` holds a client for each PortOne account."""

    pool: Pool
    accounts: Mapping[str, Asks]
    budget: Budget
    allow_test_channel: bool = False
    times: Timetable = field(default_factory=Timetable)

    async def verify(self, ids: Sequence[UUID]) -> Verification:
        """Look once for the whole batch, then write what it means. Raises PostgresUnavailable."""
        async with one_connection(self.pool) as connection:
            plan = await self._claim(connection, ids)
            answers = await self._look(plan.to_look)
            written = await self._write(connection, plan, answers) if plan.to_look else Judgement()
        soon = [n for n in (*plan.too_soon, *written.later) if n.wait <= _QUEUED_UP_TO]
        return Verification(
            told=tuple({notice.imp_uid for notice in (*plan.to_look, *plan.served)}),
            again=tuple(later.notice.id for later in soon),
            again_in=max((later.wait for later in soon), default=timedelta()),
            looked=len(answers),
            stored=len(written.meaning.news),
            changed=len(written.meaning.changes),
            failed=sum(isinstance(answer, NotAsked) for answer in answers.values()),
        )

    async def _claim(self, connection: Connection, ids: Sequence[UUID]) -> Plan:
        """Claim at once what leaves nothing to decide, and decide about the rest. The latest ticket is everybody's."""
        fresh = await in_statement_on(
            connection,
            lambda db: looks.claim_fresh(db, ids, self.times.lease, allow_test_channel=self.allow_test_channel),
        )
        plan = Plan()
        if rest := list(set(ids).difference(notice.id for notice in fresh.notices)):
            plan = await in_transaction_on(connection, lambda db: self._decide(db, rest))
        return replace(
            plan, to_look=[*fresh.notices, *plan.to_look], fresh=fresh.orders, ticket=max(fresh.ticket, plan.ticket)
        )

    async def _decide(self, db: Connection, ids: Sequence[UUID]) -> Plan:
        await notices.lock_payments(db, ids)
        plan = Plan()
        for notice in await notices.open_for_claim(db, ids):
            if notice.registered and is_served_by(notice.claimed_status, notice.cancellation_id, notice.stored_status):
                plan.served.append(notice)
            elif notice.looked_ago is not None and notice.looked_ago < self.times.spacing:
                plan.too_soon.append(Later(notice, None, self.times.spacing - notice.looked_ago))
            else:
                plan.to_look.append(notice)
        await notices.end(db, [(notice, Outcome.SERVED) for notice in plan.served])
        await self._postpone(db, plan.too_soon)
        if not plan.to_look:
            return plan
        return replace(plan, ticket=await notices.claim(db, plan.to_look, self.times.lease))

    async def _look(self, claimed: Sequence[OpenNotice]) -> dict[str, LookResult]:
        """Ask, grouped by account and tier. A payment that was asked for under several is where it was found."""
        by_store: dict[Store, list[OpenNotice]] = defaultdict(list)
        for notice in claimed:
            by_store[Store(notice.account, notice.tier)].append(notice)
        found = await asyncio.gather(*(self._look_in(store, group) for store, group in by_store.items()))
        answers: dict[str, LookResult] = {}
        for name, answer in (item for answered in found for item in answered.items()):
            if not isinstance(answers.get(name), Payment):
                answers[name] = answer if answer is not None else answers.get(name)
        return answers

    async def _look_in(self, store: Store, group: Sequence[OpenNotice]) -> dict[str, LookResult]:
        imp_uids = sorted({notice.imp_uid for notice in group})
        if (portone := self.accounts.get(store.account)) is None:
            return dict.fromkeys(imp_uids, AccountNotConfigured(store.account))
        lane = min((_lane(notice) for notice in group), key=list(Lane).index)
        if not await self.budget.take(lane, _BUDGET_WAIT_SECONDS if lane is Lane.LIVE else 0.0, store.account):
            return dict.fromkeys(imp_uids, PortOneUnavailable("the budget of calls is used up"))
        return await look(portone, imp_uids, store)

    async def _write(self, connection: Connection, plan: Plan, answers: Mapping[str, LookResult]) -> Judgement:
        """Write what was answered: in one statement where nothing had been stored, else under the orders' locks."""
        answered = Answered(plan.to_look, answers, plan.ticket, self.times)
        merchant_uids = sorted({payment.merchant_uid for payment in answered.found})
        if merchant_uids and all(name in plan.fresh for name in merchant_uids):
            read = [plan.fresh[name] for name in merchant_uids]
            judged = answered.judge(NOTHING, read)
            if not (judged.parked or judged.later) and await try_statement_on(
                connection, lambda db: looks.write_if_unchanged(db, read, judged.meaning)
            ):
                return judged
        return await in_transaction_on(connection, lambda db: self._write_under_lock(db, answered, merchant_uids))

    async def _write_under_lock(self, db: Connection, answered: Answered, merchant_uids: Sequence[str]) -> Judgement:
        stored, of_orders = NOTHING, list[VersionedOrder]()
        if merchant_uids:
            await orders.lock(db, merchant_uids)
            stored = await payments.lock(db, merchant_uids, [payment.imp_uid for payment in answered.found])
            of_orders = await orders.settled(db, merchant_uids, allow_test_channel=self.allow_test_channel)
        judged = answered.judge(stored, of_orders)
        await looks.write(db, merchant_uids, judged.meaning)
        await notices.end(db, judged.parked, parked=True)
        await self._postpone(db, judged.later)
        return judged

    async def _postpone(self, db: Connection, later: Sequence[Later]) -> None:
        """What is queued again at once is due, like any queued notice, only if no worker claims it by then."""
        await notices.postpone(
            db,
            [
                (
                    n.notice,
                    n.outcome,
                    n.wait + (self.times.queued if n.wait <= _QUEUED_UP_TO else timedelta()),
                )
                for n in later
            ],
        )


def _lane(notice: OpenNotice) -> Lane:
    """A batch is asked for in one call, so it goes in the best lane of its notices."""
    if notice.source is Source.RECONCILE:
        return Lane.BACKGROUND
    return Lane.LIVE if notice.registered else Lane.UNREGISTERED
