"""The heart: notices → looks → settlements → Postgres (DESIGN.md §3, Worker).

Claim what is due, look with no transaction open, then write what it means in one short transaction. A payment that
nobody has seen, of an order as it was registered, leaves nothing to decide on the way: its claim and its write are a
trip to Postgres each (docs/decisions/0015-one-trip.md).
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, auto
from uuid import UUID

from service.budget import Budget, Lane
from service.db import looks, notices, orders, payments
from service.db.looks import Meaning
from service.db.notices import Open
from service.db.orders import Settled
from service.db.payments import NOTHING, THIS_WRITE, Stored, for_settling
from service.db.pool import (
    Connection,
    Pool,
    in_statement_on,
    in_transaction_on,
    one_connection,
    try_statement_on,
)
from service.domain.looks import Look, StoredLook, Verdict, judge, lesser_after
from service.domain.notice import Outcome, Source, claims_more_than, is_served_by
from service.domain.order import Settlement
from service.domain.payment import Payment, Store
from service.domain.settle import settle
from service.errors import AccountNotConfigured, NotAsked, PortOneUnavailable, UnreadableAnswer
from service.portone.looks import Answer, Asks, look
from service.timetable import Timetable

# An answer that we cannot read may be PortOne's bad hour; after so many tries a person must see it.
_UNREADABLE_TRIES = 8
# A notice that claims more than PortOne shows is looked at again so often, in case PortOne's own copies lag.
_CLAIM_TRIES = 4
# Live work waits for its turn, within the lease; other work comes again later.
_BUDGET_WAIT_SECONDS = 1.0
# What comes back this soon is queued at once for then; the sweep, every 2 s, would come late.
_QUEUED_UP_TO = timedelta(seconds=2)


class Then(Enum):
    """The ends of a notice."""

    HANDLED = auto()
    PARKED = auto()


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a notice: how its row names it, and its end or the wait until its next look."""

    outcome: Outcome
    then: Then | timedelta


@dataclass(frozen=True, slots=True)
class Later:
    """A notice that must wait, and what kept it (None: nothing new)."""

    notice: Open
    outcome: Outcome | None
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Plan:
    """What a claim decided: what needs a look, what is answered by what is stored, and what comes too soon.

    `fresh`: orders, by merchant_uid, of whose payments nothing was stored.
    """

    to_look: list[Open] = field(default_factory=list)
    served: list[Open] = field(default_factory=list)
    too_soon: list[Later] = field(default_factory=list)
    fresh: Mapping[str, Settled] = field(default_factory=dict)
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What is written of a batch: what its looks mean, and the notices that do not end with them."""

    meaning: Meaning = field(default_factory=Meaning)
    parked: Sequence[tuple[Open, Outcome]] = ()
    later: Sequence[Later] = ()


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
        """Look once for the whole batch, then write what it means. Raises StoreUnavailable."""
        async with one_connection(self.pool) as connection:
            plan = await self._claim(connection, ids)
            answers = await self._look(plan.to_look)
            written = await self._write(connection, plan, answers) if plan.to_look else Written()
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

    async def _look(self, claimed: Sequence[Open]) -> dict[str, Answer]:
        """Ask, grouped by account and tier. A payment that was asked for under several is where it was found."""
        by_store: dict[Store, list[Open]] = defaultdict(list)
        for notice in claimed:
            by_store[Store(notice.account, notice.tier)].append(notice)
        found = await asyncio.gather(*(self._look_in(store, group) for store, group in by_store.items()))
        answers: dict[str, Answer] = {}
        for name, answer in (item for answered in found for item in answered.items()):
            if not isinstance(answers.get(name), Payment):
                answers[name] = answer if answer is not None else answers.get(name)
        return answers

    async def _look_in(self, store: Store, group: Sequence[Open]) -> dict[str, Answer]:
        imp_uids = sorted({notice.imp_uid for notice in group})
        if (portone := self.accounts.get(store.account)) is None:
            return dict.fromkeys(imp_uids, AccountNotConfigured(store.account))
        lane = min((_lane(notice) for notice in group), key=list(Lane).index)
        if not await self.budget.take(lane, _BUDGET_WAIT_SECONDS if lane is Lane.LIVE else 0.0, store.account):
            return dict.fromkeys(imp_uids, PortOneUnavailable("the budget of calls is used up"))
        return await look(portone, imp_uids, store)

    async def _write(self, connection: Connection, plan: Plan, answers: Mapping[str, Answer]) -> Written:
        """Write what was answered: in one statement where nothing had been stored, else under the orders' locks."""
        found = [answer for answer in answers.values() if isinstance(answer, Payment)]
        merchant_uids = sorted({payment.merchant_uid for payment in found})
        if found and all(name in plan.fresh for name in merchant_uids):
            read = [plan.fresh[name] for name in merchant_uids]
            written = self._judge(plan, answers, NOTHING, read)
            if not (written.parked or written.later) and await try_statement_on(
                connection, lambda db: looks.write_if_unchanged(db, read, written.meaning)
            ):
                return written
        return await in_transaction_on(
            connection, lambda db: self._write_under_lock(db, plan, answers, found, merchant_uids)
        )

    async def _write_under_lock(
        self,
        db: Connection,
        plan: Plan,
        answers: Mapping[str, Answer],
        found: Sequence[Payment],
        merchant_uids: Sequence[str],
    ) -> Written:
        stored, of_orders = NOTHING, list[Settled]()
        if found:
            await orders.lock(db, merchant_uids)
            stored = await payments.lock(db, merchant_uids, [payment.imp_uid for payment in found])
            of_orders = await orders.settled(db, merchant_uids, allow_test_channel=self.allow_test_channel)
        written = self._judge(plan, answers, stored, of_orders)
        if found:
            await looks.write(db, merchant_uids, written.meaning)
        await notices.end(db, written.parked, parked=True)
        await self._postpone(db, written.later)
        return written

    def _judge(
        self, plan: Plan, answers: Mapping[str, Answer], stored: Stored, of_orders: Sequence[Settled]
    ) -> Written:
        """Say what the answers mean, given what is stored: no await, and nothing is written here."""
        verdicts, news = self._verdicts(plan, answers, stored)
        changes = _settle(of_orders, stored, news)
        registered = {order.terms.merchant_uid for order in of_orders}
        handled, parked, later = [], [], []
        for notice in plan.to_look:
            fate = self._fate(notice, answers[notice.imp_uid], verdicts, registered)
            match fate.then:
                case Then.HANDLED:
                    handled.append((notice, fate.outcome))
                case Then.PARKED:
                    parked.append((notice, fate.outcome))
                case timedelta() as wait:
                    later.append(Later(notice, fate.outcome, wait))
        return Written(Meaning(list(news.values()), changes, handled), parked, later)

    def _verdicts(
        self, plan: Plan, answers: Mapping[str, Answer], stored: Stored
    ) -> tuple[dict[str, Verdict], dict[str, StoredLook]]:
        """Say of each answer what becomes of it, and what is to be stored; both by imp_uid."""
        verdicts, news = {}, {}
        for payment in answers.values():
            if not isinstance(payment, Payment):
                continue
            before, seen = stored.looks.get(payment.imp_uid), Look(payment, plan.ticket)
            verdict = verdicts[payment.imp_uid] = judge(before, seen, stored.now, self.times.regression)
            if verdict in (Verdict.SAME, Verdict.LATE):
                continue
            lesser = lesser_after(verdict, before, seen, stored.now, THIS_WRITE)
            if before is None or verdict is Verdict.STORE:
                news[payment.imp_uid] = StoredLook(payment, THIS_WRITE, lesser)
            else:
                news[payment.imp_uid] = StoredLook(before.payment, before.written_ticket, lesser)
        return verdicts, news

    def _fate(self, notice: Open, answer: Answer, verdicts: Mapping[str, Verdict], registered: Set[str]) -> Fate:
        """What becomes of a notice after its look."""
        aged = notice.age > self.times.grace
        match answer:
            case UnreadableAnswer() if aged and notice.tries >= _UNREADABLE_TRIES:
                return Fate(answer.outcome, Then.PARKED)
            case NotAsked():
                return Fate(answer.outcome, self._backoff(notice.tries))
            case None:
                return Fate(Outcome.PAYMENT_UNKNOWN, Then.PARKED if aged else self._backoff(notice.tries))
            case Payment():
                return self._fate_of_found(notice, answer, verdicts[answer.imp_uid], registered, aged)

    def _fate_of_found(self, notice: Open, answer: Payment, verdict: Verdict, registered: Set[str], aged: bool) -> Fate:
        if verdict is Verdict.KEEP_OUT:
            return Fate(Outcome.REGRESSED, self.times.regression)
        if answer.merchant_uid not in registered:
            return Fate(Outcome.ORDER_NOT_REGISTERED, Then.PARKED if aged else self.times.grace)
        if claims_more_than(notice.source, notice.claimed_status, answer.status) and notice.tries < _CLAIM_TRIES:
            return Fate(Outcome.CLAIMS_MORE, self._backoff(notice.tries))
        return Fate(Outcome.LOOKED, Then.HANDLED)

    def _backoff(self, tries: int) -> timedelta:
        """Doubled each time, shortened by up to a quarter: what failed together does not return together."""
        wait = min(self.times.backoff_first * 2.0 ** min(tries, 30), self.times.backoff_last)
        return wait * random.uniform(0.75, 1.0)  # noqa: S311 - jitter, no secret

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


def _settle(
    of_orders: Sequence[Settled], stored: Stored, news: Mapping[str, StoredLook]
) -> list[tuple[Settled, Settlement]]:
    """Settle these orders from what will be stored; those that change, and what to."""
    payments_of: dict[str, list[Payment]] = defaultdict(list)
    for imp_uid, known in {**stored.looks, **news}.items():
        payment = for_settling(known, refund_unknown=imp_uid in stored.refund_unknown)
        payments_of[payment.merchant_uid].append(payment)
    settled = [(order, settle(order.terms, payments_of[order.terms.merchant_uid])) for order in of_orders]
    return [(order, settlement) for order, settlement in settled if settlement != order.settlement]


def _lane(notice: Open) -> Lane:
    """A batch is asked for in one call, so it goes in the best lane of its notices."""
    if notice.source is Source.RECONCILE:
        return Lane.BACKGROUND
    return Lane.LIVE if notice.registered else Lane.UNREGISTERED
