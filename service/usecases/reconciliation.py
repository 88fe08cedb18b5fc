"""Reconciliation: order state converges even if no notice ever arrives (docs/design.md §3).

It writes no payment. If PortOne's list differs from what is stored, it records a notice, and a worker looks as for any
notice. Every function does one bounded turn, is safe in several workers, and raises PostgresUnavailable,
RedisUnavailable or NotAsked, after which the next turn takes up the work.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from service.db import ledger_scans, notices, order_checks, orders, payments, problems, unreadable
from service.db.ledger_scans import Scan
from service.db.order_checks import SilentOrder
from service.db.pool import Connection, Pool, in_transaction
from service.domain.ids import is_imp_uid, is_merchant_uid
from service.domain.notice import Notice, Source
from service.domain.ownership import EVERYTHING, Ours
from service.domain.payment import Store
from service.domain.staleness import StoredLook, same_facts
from service.domain.timetable import Timetable
from service.domain.unreadable import StoredUnreadable, UnreadablePayment
from service.errors import NotAsked, PortOneUnavailable, UnreadableAnswer, UnreadableMoney
from service.notice_ids import new_notice_id
from service.portone.accounts import account_client
from service.portone.client import PAYMENTS_PER_CALL, LedgerPage
from service.portone.payment import read_payment
from service.redis.budget import Budget, Lane
from service.redis.queue import NOTICES_PER_JOB, Queue
from service.usecases.announcing import announce
from service.usecases.closing import expire

log = structlog.get_logger()

# A long walk is done in turns, so that a worker that stops loses little; each page costs one call.
_PAGES_A_TURN = 10
_PARKED_A_TURN = 10_000
# V1 has no `updated_at`: a payment's last change is the latest of these.
_TIMES = ("started_at", "vbank_issued_at", "paid_at", "failed_at", "cancelled_at")


class Lists(Protocol):
    """The part of the client that reconciliation needs."""

    async def payments_of(self, merchant_uids: Sequence[str], tier: str) -> list[object]: ...

    async def ledger(self, tier: str, page: int, *, since: int | None = None) -> LedgerPage: ...


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The comparison of PortOne's lists with what is stored. `accounts` holds a client for each PortOne account."""

    pool: Pool
    queue: Queue
    accounts: Mapping[str, Lists]
    budget: Budget
    times: Timetable
    stores: Sequence[Store]
    ours: Ours = EVERYTHING
    allow_test_channel: bool = False
    # How far the walk over the parked notices has come, in this process.
    position: dict[str, datetime | None] = field(default_factory=dict)

    async def ask_about_silent_orders(self) -> int:
        """Ask about up to 100 orders that have been silent for long, and close those whose time is over.

        Return how many were due.
        """
        silent = await in_transaction(self.pool, order_checks.take_silent, PAYMENTS_PER_CALL, self.times)
        by_store: dict[Store, list[SilentOrder]] = defaultdict(list)
        for order in silent:
            by_store[order.store].append(order)
        failures, answered = _Failures(), set[str]()
        for store, of_store in by_store.items():
            with failures.of(store):
                await self._ask_about(of_store, store)
                answered.update(order.merchant_uid for order in of_store)
        unanswered = [order.merchant_uid for order in silent if order.merchant_uid not in answered]
        await in_transaction(self.pool, order_checks.ask_again, unanswered, self.times.silence[0])
        await in_transaction(self.pool, order_checks.note_answers, list(answered))
        failures.raise_first()
        return len(silent)

    async def _ask_about(self, silent: Sequence[SilentOrder], store: Store) -> None:
        """Ask about these orders of one store, and close those that end. One of which PortOne shows news stays open."""
        if not await self.budget.take(Lane.BACKGROUND, 1.0, store.account):
            raise PortOneUnavailable("the budget of calls is used up")
        portone = account_client(self.accounts, store.account)
        merchant_uids = [order.merchant_uid for order in silent]
        differing = await self._record(await portone.payments_of(merchant_uids, store.tier), store)
        await self._notice_unsettled(merchant_uids)
        news = {notice.merchant_uid for notice in differing}
        await self._expire([order.merchant_uid for order in silent if order.ends and order.merchant_uid not in news])

    async def _expire(self, merchant_uids: Sequence[str]) -> None:
        if merchant_uids:
            expired = await in_transaction(
                self.pool, expire, merchant_uids, self.times.deposit_grace, allow_test_channel=self.allow_test_channel
            )
            await announce(self.queue, expired)
            log.info("orders.expired", count=len(expired))

    async def walk_ledger(self) -> int:
        """Do one turn of each walk that is due. Return the number of differences.

        A walk goes on until a page agrees and reaches what the last walk knew: a page that agrees says nothing of
        older changes that were missed. Each page is recorded, so that a failure loses only one page.
        """
        await in_transaction(self.pool, ledger_scans.ensure, self.stores)
        count, failures = 0, _Failures()
        for _ in self.stores:
            scan = await in_transaction(
                self.pool, ledger_scans.take, self.stores, self.times.ledger, self.times.ledger_whole
            )
            if scan is None:
                break
            with failures.of(scan.store):
                count += await self._walk(scan)
        failures.raise_first()
        return count

    async def _walk(self, scan: Scan) -> int:
        count = 0
        for page in range(scan.page, scan.page + _PAGES_A_TURN):
            if not await self.budget.take(Lane.BACKGROUND, 1.0, scan.store.account):
                await in_transaction(self.pool, ledger_scans.go_on, scan, page)
                return count
            listed = await account_client(self.accounts, scan.store.account).ledger(scan.store.tier, page)
            differing = await self.compare(listed.payments, scan.store)
            count += differing
            if not listed.more or (not differing and not scan.whole and self._reaches(listed.payments, scan)):
                await self._complete(scan, page, count)
                return count
            await in_transaction(self.pool, ledger_scans.record_page, scan, page + 1)
        await in_transaction(self.pool, ledger_scans.go_on, scan, scan.page + _PAGES_A_TURN)
        return count

    async def compare(self, listed: Sequence[object], store: Store) -> int:
        """Record a notice for each listed payment that differs from what is stored. Return how many differ."""
        return len(await self._record(listed, store))

    async def _record(self, listed: Sequence[object], store: Store) -> list[Notice]:
        differing = await in_transaction(self.pool, differences, listed, store, self.ours)
        for start in range(0, len(differing), PAYMENTS_PER_CALL):
            batch = differing[start : start + PAYMENTS_PER_CALL]
            await self._queue(await in_transaction(self.pool, notices.record_differences, batch))
        return differing

    async def replay_parked(self) -> int:
        """Look again for notices that were parked for an order or a store that is there by now; return how many.

        One bounded slice of the parked notices, after the last one's: a million of them take a hundred turns.
        """
        replayed = await in_transaction(
            self.pool, notices.replay_parked, self.position.get("parked"), self.stores, _PARKED_A_TURN
        )
        self.position["parked"] = replayed.next_after
        return await self._queue(replayed.ids)

    async def _notice_unsettled(self, merchant_uids: Sequence[str]) -> None:
        await self._queue(await in_transaction(self.pool, _record_left_behind, merchant_uids))

    async def _queue(self, rows: Sequence[UUID]) -> int:
        """Queue recorded notices. If that fails, the sweep queues them, because their rows are due at once."""
        for start in range(0, len(rows), NOTICES_PER_JOB):
            await self.queue.put(rows[start : start + NOTICES_PER_JOB])
        return len(rows)

    def _reaches(self, listed: Sequence[object], scan: Scan) -> bool:
        """Return whether the page's last change is older than the last walk, with a margin for unequal clocks."""
        changed_at = next(filter(None, map(_changed_at, reversed(listed))), None)
        if scan.known_until is None or changed_at is None:
            return False
        return changed_at < (scan.known_until - self.times.ledger).timestamp()

    async def _complete(self, scan: Scan, pages: int, differing: int) -> None:
        await in_transaction(self.pool, ledger_scans.complete, scan)
        if differing or scan.whole:
            log.info(
                "ledger.walked",
                account=scan.store.account,
                tier=scan.store.tier,
                pages=pages,
                differing=differing,
                whole=scan.whole,
            )


class _Failures:
    """The failures of one turn: a store that cannot be asked stops no other, and the first error is raised last."""

    def __init__(self) -> None:
        self._first: NotAsked | None = None

    @contextmanager
    def of(self, store: Store) -> Iterator[None]:
        try:
            yield
        except NotAsked as error:
            log.warning("store.not_asked", account=store.account, tier=store.tier, reason=str(error))
            self._first = self._first or error

    def raise_first(self) -> None:
        if self._first:
            raise self._first


def _changed_at(item: object) -> int | None:
    """Return the time of a payment's last change, or None if any of its times cannot be read."""
    if not isinstance(item, Mapping):
        return None
    times = [item.get(name) or 0 for name in _TIMES]
    readable = all(isinstance(at, int) and not isinstance(at, bool) for at in times)
    return max(times) if readable else None


async def differences(db: Connection, listed: Sequence[object], store: Store, ours: Ours = EVERYTHING) -> list[Notice]:
    """Return a notice for each listed payment that is not stored as it is listed, and that can be ours."""
    named = {
        imp_uid: item
        for item in listed
        if isinstance(item, Mapping) and isinstance(imp_uid := item.get("imp_uid"), str) and is_imp_uid(imp_uid)
    }
    if len(named) < len(listed):
        log.warning("ledger.rows_unnamed", account=store.account, tier=store.tier, rows=len(listed) - len(named))
    stored, odd = await payments.read(db, list(named)), await unreadable.read(db, list(named))
    differing = [
        (item, _notice(imp_uid, item.get("merchant_uid"), store))
        for imp_uid, item in named.items()
        if _differs(item, stored.get(imp_uid), odd.get(imp_uid), store)
    ]
    foreign = await _foreign(db, differing, ours)
    return [notice for _, notice in differing if notice.imp_uid not in foreign]


async def _foreign(db: Connection, differing: Sequence[tuple[Mapping[str, object], Notice]], ours: Ours) -> set[str]:
    """Return the imp_uids of payments that cannot be ours. Nothing is recorded of them: they cost no lasting work."""
    if ours == EVERYTHING:
        return set()
    rows = [
        (notice.imp_uid, notice.merchant_uid, item.get("started_at"))
        for item, notice in differing
        if notice.merchant_uid is not None
    ]
    return await problems.foreign(db, rows, ours)


async def _record_left_behind(db: Connection, merchant_uids: Sequence[str]) -> list[UUID]:
    """Record a notice for each payment that holds money which its order does not show."""
    left_behind = await orders.unsettled_with_money(db, merchant_uids)
    for imp_uid, merchant_uid, _ in left_behind:
        log.error("order.left_behind", merchant_uid=merchant_uid, imp_uid=imp_uid)
    return await notices.record_differences(db, [_notice(*each) for each in left_behind])


def _differs(item: Mapping[str, object], stored: StoredLook | None, odd: StoredUnreadable | None, store: Store) -> bool:
    """Return whether a look may bring something new; while a lesser answer is unconfirmed, every look counts.

    Of a row that cannot be read, and that holds no money for certain, a look would bring nothing.
    """
    where, live = (stored.payment.store, stored.payment.live) if stored else (store, True)
    try:
        payment = read_payment(item, where, live=live)
    except UnreadableMoney as error:
        return odd is None or _facts(error.payment) != _facts(odd.payment)
    except UnreadableAnswer:
        return False
    return odd is not None or stored is None or stored.lesser is not None or not same_facts(payment, stored.payment)


def _facts(payment: UnreadablePayment) -> tuple[object, ...]:
    return payment.odd, payment.amount, payment.currency


def _notice(imp_uid: str, merchant_uid: object, store: Store) -> Notice:
    named = merchant_uid if isinstance(merchant_uid, str) and is_merchant_uid(merchant_uid) else None
    return Notice(new_notice_id(), Source.RECONCILE, imp_uid, named, store.tier, account=store.account)
