"""Faults that the explorer found in the ledger scan, each with its own test."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from faults.explorer.gates import NoBudget
from faults.explorer.truth import PAGE, Attempt, Truth
from service.db import notices
from service.db.orders import NewOrder
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice, Source
from service.domain.order import Order
from service.domain.payment import ACCOUNT, Store
from service.domain.timetable import Timetable
from service.errors import PortOneUnavailable
from service.notice_ids import new_notice_id
from service.portone.client import LedgerPage
from service.redis.queue import Queue, connect
from service.usecases.coalescing import BatchBounds
from service.usecases.reconciliation import Reconciler
from service.usecases.registration import Registration
from service.usecases.verification import Verifier

TIMES = Timetable()


class PortOneOfPages:
    """PortOne with pages of two payments. `failing` is the number of the page that it fails to answer."""

    def __init__(self, truth: Truth) -> None:
        self.truth, self.pages, self.failing = truth, list[int](), 0

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        return self.truth.payment(imp_uid, tier, None)

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        return [payment for imp_uid in imp_uids if (payment := self.truth.payment(imp_uid, tier, None))]

    async def payments_of(self, merchant_uids: Sequence[str], tier: str) -> list[object]:
        return self.truth.payments_of(merchant_uids, tier, None)

    async def ledger(self, tier: str, page: int, *, since: int | None = None) -> LedgerPage:
        self.pages.append(page)
        if page == self.failing:
            raise PortOneUnavailable
        return LedgerPage(**self.truth.ledger(tier, page, None))


class Shop:
    """Orders and payments, and the parts that reconcile them."""

    def __init__(self, pool: Pool, queue: Queue) -> None:
        self.pool, self.truth = pool, Truth()
        self.portone = PortOneOfPages(self.truth)
        self.reconciler = Reconciler(pool, queue, {ACCOUNT: self.portone}, NoBudget(), TIMES, [Store("default", "")])
        self.verifier = Verifier(pool, {ACCOUNT: self.portone}, NoBudget(), times=TIMES)

    async def pay(self, number: int, ago: timedelta) -> None:
        """Register an order and pay it some time ago. PortOne lists the newest change first."""
        now: float = await self.pool.fetchval("SELECT extract(epoch FROM now())::float8")
        self.truth.clock = now - ago.total_seconds()
        order = NewOrder(Order(f"order-{number}", 1000, "KRW", Store("default")))
        await Registration(self.pool, TIMES, BatchBounds(1)).register(order)
        attempt = Attempt(f"imp_{number}", f"order-{number}", 1000)
        self.truth.move(attempt, "open", Random(0))
        self.truth.move(attempt, "pay", Random(0))

    async def look(self) -> None:
        """Verify every notice that is due."""
        await self.pool.execute("TRUNCATE last_looks")
        rows = await self.pool.fetch("SELECT id FROM notices WHERE due_at <= now()")
        if rows:
            await self.verifier.verify([row["id"] for row in rows])

    async def announce(self, number: int) -> None:
        await self.record(Notice(new_notice_id(), Source.WEBHOOK, f"imp_{number}", f"order-{number}"))

    async def record(self, notice: Notice) -> UUID:
        await in_transaction(self.pool, notices.record, [notice], timedelta())
        return notice.id

    async def walk(self) -> None:
        await self.pool.execute("UPDATE ledger_scans SET next_at = now()")
        self.portone.pages.clear()
        await self.reconciler.walk_ledger()

    async def unpaid(self) -> list[str]:
        rows = await self.pool.fetch("SELECT merchant_uid FROM orders WHERE state <> 'paid' ORDER BY 1")
        return [row["merchant_uid"] for row in rows]


@pytest.fixture
async def shop(pool: Pool, redis_url: str) -> AsyncIterator[Shop]:
    queue = Queue(connect(redis_url))
    yield Shop(pool, queue)
    await queue.close()


async def test_a_page_that_agrees_hides_nothing_older(shop: Shop) -> None:
    """An older, unannounced payment is found even behind a whole page of newer payments that are stored."""
    await shop.walk()
    await shop.pool.execute("UPDATE ledger_scans SET known_until = known_until - interval '1 hour'")
    await shop.pay(0, timedelta(minutes=30))
    for number in range(1, 1 + 2 * PAGE):
        await shop.pay(number, timedelta(minutes=20 - number))
        await shop.announce(number)
    await shop.look()
    assert await shop.unpaid() == ["order-0"]
    await shop.walk()
    await shop.look()
    assert await shop.unpaid() == []


async def test_a_walk_that_knows_all_costs_one_page(shop: Shop) -> None:
    """After a complete walk, the next walk goes no further back than its beginning."""
    for number in range(3 * PAGE):
        await shop.pay(number, timedelta(minutes=30 - number))
    await shop.walk()
    assert shop.portone.pages == [1, 2, 3]
    await shop.look()
    await shop.walk()
    assert shop.portone.pages == [1]


async def test_a_walk_that_fails_goes_on_where_it_was(shop: Shop) -> None:
    """If PortOne fails in the middle of a long walk, the next walk continues from the failed page."""
    await shop.walk()
    await shop.pool.execute("UPDATE ledger_scans SET known_until = known_until - interval '1 hour'")
    for number in range(3 * PAGE):
        await shop.pay(number, timedelta(minutes=30 - number))
    shop.portone.failing = 2
    with pytest.raises(PortOneUnavailable):
        await shop.walk()
    await shop.look()
    shop.portone.failing = 0
    await shop.walk()
    assert shop.portone.pages == [2, 3]
    await shop.look()
    assert await shop.unpaid() == []


@pytest.mark.parametrize("why", ["claimed", "overdue"])
async def test_a_notice_whose_look_shows_less_hides_no_difference(shop: Shop, why: str) -> None:
    """A notice whose look has begun, or that starves, does not replace the notice of a difference."""
    await shop.pay(0, timedelta(minutes=5))
    notice = Notice(new_notice_id(), Source.WEBHOOK, "imp_0", "order-0", "")
    await shop.record(notice)
    claimed = "claimed_until = now() + interval '8 s', due_at = now() + interval '8 s'"
    overdue = "due_at = now() - interval '1 minute'"
    await shop.pool.execute(f"UPDATE notices SET {claimed if why == 'claimed' else overdue}")  # noqa: S608
    await shop.walk()
    sources = await shop.pool.fetch("SELECT source FROM notices ORDER BY source")
    assert [row["source"] for row in sources] == ["reconcile", "webhook"]


async def test_a_notice_that_is_to_be_looked_for_is_enough(shop: Shop) -> None:
    """A difference that was already announced needs no further notice."""
    await shop.pay(0, timedelta(minutes=5))
    await shop.announce(0)
    await shop.walk()
    assert await shop.pool.fetchval("SELECT count(*) FROM notices") == 1


def test_the_truth_has_small_pages() -> None:
    """The ledger of a truth without payments is one empty page."""
    truth: Any = Truth()
    assert truth.ledger("", 1, None) == {"payments": [], "total": 0, "more": False}
