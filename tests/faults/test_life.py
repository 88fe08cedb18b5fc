"""Random lives of an order, made by hypothesis on real Postgres: the order always matches PortOne."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faults import oracle
from faults.explorer.gates import NoBudget
from faults.explorer.truth import Attempt, Truth
from service.db import notices
from service.db.orders import NewOrder
from service.db.pool import Pool, in_transaction, open_pool
from service.domain.notice import Notice, Source
from service.domain.order import Order
from service.domain.payment import ACCOUNT, Store
from service.domain.timetable import Timetable
from service.errors import PortOneUnavailable
from service.notice_ids import new_notice_id
from service.usecases.coalescing import BatchBounds
from service.usecases.registration import Registration
from service.usecases.verification import Verifier

_TABLES = "order_events, order_checks, notices, payments, unreadable_payments, orders"
# Looks may follow at once, and no answer must wait for its confirmation.
_TIMES = Timetable(spacing=timedelta(), regression=timedelta(), lease=timedelta(), queued=timedelta())
_NEXT = {
    "ready": ("pay", "fail", "issue"),
    "issued": ("deposit",),
    "failed": ("pay",),
    "paid": ("refund_part", "refund_all"),
    "cancelled": ("refund_part", "refund_all"),
}


class FakePortOne:
    """PortOne, which answers with the truth, and can be down or behind."""

    def __init__(self, truth: Truth) -> None:
        self.truth, self.down, self.behind = truth, False, False

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        if self.down:
            raise PortOneUnavailable
        attempt = self.truth.attempts[imp_uid]
        states = [state for _, state in attempt.states]
        return states[max(0, len(states) - 1 - self.behind)] if attempt.tier == tier else None

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        return [payment for imp_uid in imp_uids if (payment := await self.payment(imp_uid, tier))]


class Life(RuleBasedStateMachine):
    """One order with up to three payments."""

    loop: asyncio.AbstractEventLoop
    pool: Pool

    @initialize(amount=st.sampled_from((1000, 64900)))
    def begin(self, amount: int) -> None:
        self.truth, self.registered, self.rng = Truth(), False, Random(amount)
        self.portone = FakePortOne(self.truth)
        self.order = Order("order-1", amount, "KRW", Store("default"))
        self.verifier = Verifier(self.pool, {ACCOUNT: self.portone}, NoBudget(), times=_TIMES)
        self.looked: set[str] = set()
        self._do(self.pool.execute(f"TRUNCATE {_TABLES} CASCADE"))

    @precondition(lambda self: not self.registered)
    @rule()
    def the_shop_registers(self) -> None:
        self._do(Registration(self.pool, _TIMES, BatchBounds(1)).register(NewOrder(self.order)))
        self.registered = True

    @precondition(lambda self: len(self.truth.attempts) < 3)
    @rule(wrong=st.sampled_from((None, None, "amount", "currency", "channel", "tier")))
    def a_window_opens(self, wrong: str | None) -> None:
        attempt = Attempt(f"imp_{len(self.truth.attempts)}", "order-1", self.order.amount)
        match wrong:
            case "amount":
                attempt.amount -= 100
            case "currency":
                attempt.currency = "JPY"
            case "channel":
                attempt.test = True
            case "tier":
                attempt.tier = "ABC"
            case _:
                pass
        self.truth.move(attempt, "open", self.rng)

    @precondition(lambda self: self.truth.attempts)
    @rule(data=st.data())
    def a_payment_moves(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.truth.attempts.values(), key=lambda one: one.imp_uid)))
        now = attempt.now
        status = "issued" if now["status"] == "ready" and now["vbank_num"] else now["status"]
        moves = [m for m in _NEXT[status] if not m.startswith("refund") or now["cancel_amount"] < now["amount"]]
        if moves:
            self.truth.clock += 1
            self.truth.move(attempt, data.draw(st.sampled_from(moves)), self.rng)
            self.looked.discard(attempt.imp_uid)

    @precondition(lambda self: self.truth.attempts)
    @rule(data=st.data(), trouble=st.sampled_from((None, None, "down", "behind")))
    def somebody_gives_notice(self, data: st.DataObject, trouble: str | None) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.truth.attempts.values(), key=lambda one: one.imp_uid)))
        self.portone.down, self.portone.behind = trouble == "down", trouble == "behind"
        notice = Notice(new_notice_id(), Source.WEBHOOK, attempt.imp_uid, "order-1", attempt.tier or None)
        self._do(self._look(notice))
        if trouble is None:
            self.looked.add(attempt.imp_uid)
        elif trouble == "behind":
            self.looked.discard(attempt.imp_uid)

    @invariant()
    def it_is_what_portone_says(self) -> None:
        if not hasattr(self, "truth"):
            return
        rows = self._do(self._rows())
        current = set(self.truth.attempts) <= self.looked
        payments = [attempt.now | {"tier": attempt.tier} for attempt in self.truth.attempts.values()]
        broken = oracle.judge(oracle.Rows(rows.orders, rows.events, [], rows.payments), payments)
        # Until every payment was looked at, only what may never be wrong is checked: versions, the feed, `paid`.
        assert [line for line in broken if current or not line.startswith(("order order-1 is Exp", "payment"))] == []

    async def _look(self, notice: Notice) -> None:
        rows = await in_transaction(self.pool, notices.record, [notice], timedelta())
        await self.verifier.verify(rows)

    async def _rows(self) -> oracle.Rows:
        async with self.pool.acquire() as db:
            return await oracle.read_rows(db)  # type: ignore[arg-type]

    def _do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)


@pytest.fixture
def life(stores: Any) -> Iterator[type[Life]]:
    """The machine with its own database. Hypothesis is not asynchronous, so neither is this test."""
    loop = asyncio.new_event_loop()
    name = "life"

    async def admin(command: str) -> None:
        connection = await asyncpg.connect(stores.postgres.url("postgres"))
        await connection.execute(command)
        await connection.close()

    loop.run_until_complete(admin(f"CREATE DATABASE {name} TEMPLATE portone_orders STRATEGY file_copy"))
    pool = loop.run_until_complete(open_pool(stores.postgres.url(name)))
    machine: type[Life] = type("Life", (Life,), {"loop": loop, "pool": pool})
    yield machine
    loop.run_until_complete(pool.close())
    loop.run_until_complete(admin(f"DROP DATABASE {name} WITH (FORCE)"))
    loop.close()


def test_a_life(life: type[Life]) -> None:
    """An order's versions, events and state stay right, whenever it is registered, paid, refunded and announced."""
    logging.getLogger("hypothesis").setLevel(logging.ERROR)
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=30,
            stateful_step_count=18,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
