"""No refund is sent twice, however two refunders, looks, a console and crashes are interleaved at every await.

The tests run a few schedules; `make refund-schedules` runs 1,000.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, cast

import pytest

from sandbox.errors import Refused
from sandbox.payment import Payment
from sandbox.refunds import Refund, refundable
from sandbox.world import WORLD
from service.db.pool import Pool, open_pool
from service.domain.payment import ACCOUNT
from service.domain.timetable import Timetable
from service.portone.client import PortOne
from service.settings import Settings
from service.usecases.verification import Verifier
from tests.sandbox_client import RunningSandbox
from tests.service.refunding import Shop, make_refunder
from tests.service.turns import SteppedPool, SteppedPortOne, Turns
from workers.parts import Parts

SCHEDULES = int(os.environ.get("REFUND_SCHEDULES", "12"))
FIRST_SEED = int(os.environ.get("REFUND_SCHEDULES_FROM", "0"))

# Actors wait only for their turns. At the end, a refund without a known result becomes unknown.
NO_WAITS = replace(Timetable().scaled(0), refund_unknown=timedelta(hours=1), refund_window=timedelta(hours=1))
AT_THE_END = replace(NO_WAITS, refund_unknown=timedelta())

TROUBLES: list[dict[str, Any]] = [
    {},
    {"api_answer": "reset", "api_when": "after"},
    {"api_answer": "500", "api_when": "after"},
    {"api_answer": "garbage", "api_when": "after"},
    {"api_answer": "401", "api_when": "after"},
    {"api_answer": "reset", "api_when": "before"},
    {"api_answer": "503", "api_when": "before"},
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"calls_per_second": 1_000_000.0})


@pytest.fixture
async def wide_pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool with a connection for every actor."""
    opened = await open_pool(database_url, 20)
    yield opened
    await opened.close()


class Arrivals(Counter[str]):
    """Counts the refunds of each payment that arrived through PortOne's API. With `refusing` they are refused."""

    refusing = False


@pytest.fixture
def calls(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    ledger, arrivals = sandbox.app[WORLD].ledger, Arrivals()
    cancel = ledger.cancel

    def counted(payment: Payment, refund: Refund, **options: Any) -> None:
        if refund.reason == "duplicate_payment":  # the console gives no reason
            arrivals[payment.imp_uid] += 1
            if arrivals.refusing:
                raise Refused("은행 점검 시간입니다.")
        cancel(payment, refund, **options)

    monkeypatch.setattr(ledger, "cancel", counted)
    return arrivals


@pytest.mark.timeout(1800)
async def test_no_schedule_asks_twice(
    parts: Parts,
    settings: Settings,
    sandbox: RunningSandbox,
    wide_pool: Pool,
    calls: Arrivals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each refund is sent at most once, and ends as refunded or as a problem for a person."""
    secret = settings.portone_imp_secret.get_secret_value()
    portone = PortOne(settings.portone_api_url, settings.portone_imp_key, secret, NO_WAITS)
    verifier = replace(parts.verifier, pool=wide_pool, accounts={ACCOUNT: portone}, times=NO_WAITS)
    ends, totals = Counter[str](), Counter[str]()
    for seed in range(FIRST_SEED, FIRST_SEED + SCHEDULES):
        schedule = _Schedule(seed, Shop(wide_pool, sandbox, verifier), verifier, portone)
        calls.refusing = schedule.refused
        try:
            end = await schedule.run()
            await schedule.check(calls)
        except BaseException as error:
            error.add_note(f"seed {seed}: REFUND_SCHEDULES=1 REFUND_SCHEDULES_FROM={seed} repeats it")
            raise
        ends[end] += 1
        totals += Counter(schedules=1, gates=schedule.turns.gates, crashes=schedule.turns.crashes)
    await portone.close()
    double = sum(1 for count in calls.values() if count > 1)
    if "REFUND_SCHEDULES" in os.environ:  # a long run prints its figures
        with capsys.disabled():
            print(f"\n{dict(totals)}; calls {calls.total()}, double refunds {double}; ends {dict(ends)}")  # noqa: T201
    assert double == 0


class _Schedule:
    """A schedule of one order that was paid twice."""

    def __init__(self, seed: int, shop: Shop, verifier: Verifier, portone: PortOne) -> None:
        self.random = Random(seed)
        self.shop, self.verifier, self.portone = shop, verifier, portone
        self.order = f"order-{seed}"
        self.turns = Turns(self.random, crash_at=seed % 250, crashes=self.random.randint(0, 4))
        self.late = self.random.random() < 0.2
        self.console = self.random.random() < 0.3
        self.refused = self.random.random() < 0.15
        self.duplicate = self.first = ""

    async def run(self) -> str:
        terms = {"async_cancel": True} if self.random.random() < 0.2 else {}
        self.first, self.duplicate = await self.shop.paid_twice(self.order, **terms)
        trouble = self.random.choice(TROUBLES)
        if trouble:
            await self.shop.sandbox.faults(api_path="/payments/cancel", **trouble)
        for _ in range(2):
            self.turns.start(self._refund)
        self.turns.start(self._tell)
        if self.console:
            self.turns.start(self._refund_in_the_console)
        await self.turns.run()
        await self.shop.sandbox.faults()
        return await self._come_to_an_end()

    async def _refund(self) -> None:
        pool = cast("Pool", SteppedPool(self.shop.pool, self.turns))
        portone = cast("PortOne", SteppedPortOne(self.portone, self.turns, late=self.late))
        refunder = make_refunder(replace(self.verifier, pool=pool), portone, times=NO_WAITS, max_per_hour=1_000_000)
        await refunder.intents.intend_due()
        await refunder.refund_due()
        await refunder.close_asked()

    async def _tell(self) -> None:
        pool = cast("Pool", SteppedPool(self.shop.pool, self.turns))
        verifier = replace(self.verifier, pool=pool, accounts={ACCOUNT: SteppedPortOne(self.portone, self.turns)})
        await replace(self.shop, pool=pool, verifier=verifier).announce(self.order, self.first, self.duplicate)

    async def _refund_in_the_console(self) -> None:
        """Refund the whole or a part of either payment in the console, as a person would."""
        for _ in range(self.random.randint(0, 120)):
            await self.turns.gate()
        imp_uid, amount = self.random.choice([self.first, self.duplicate]), self.random.choice([None, 900])
        payment = self.shop.sandbox.app[WORLD].ledger.payment(imp_uid)
        if payment.status == "paid" and refundable(payment) > 0:
            await self.shop.sandbox.move(imp_uid, "cancel", **({"amount": amount} if amount else {}))

    async def _come_to_an_end(self) -> str:
        """Let workers go on without troubles, finish asynchronous refunds, and let time pass."""
        refunder = make_refunder(self.verifier, self.portone, times=NO_WAITS, max_per_hour=1_000_000)
        for _ in range(2):
            await self.shop.announce(self.order, self.first, self.duplicate)
            await refunder.intents.intend_due()
            await refunder.refund_due()
            for imp_uid in (self.first, self.duplicate):
                while (await self.shop.truth(imp_uid))["pending_cancels"]:
                    await self.shop.sandbox.move(imp_uid, "finish-cancel")
            await refunder.close_asked()
        await make_refunder(self.verifier, self.portone, times=AT_THE_END).close_asked()
        await self.shop.announce(self.order, self.first, self.duplicate)
        states = await self.shop.pool.fetch("SELECT state FROM refunds WHERE merchant_uid = $1", self.order)
        return ", ".join(sorted(row["state"] for row in states)) or "no intent"

    async def check(self, calls: Counter[str]) -> None:
        """Check that nothing was sent twice, and that each end is what PortOne shows or a problem of the order."""
        open_problems = await self.shop.problems(self.order)
        rows = await self.shop.pool.fetch("SELECT * FROM refunds WHERE merchant_uid = $1", self.order)
        for row in rows:
            imp_uid, truth = row["imp_uid"], await self.shop.truth(row["imp_uid"])
            assert calls[imp_uid] <= 1
            assert truth["cancel_amount"] <= truth["amount"]
            match row["state"]:
                case "refunded":
                    assert truth["cancel_amount"] == truth["amount"]
                case "refund_unknown":
                    assert ("refund_unknown", imp_uid) in open_problems
                case "refused":
                    # Still a problem, unless the console ended it, with this payment or with the first.
                    ended = truth["cancel_amount"] or await self._pays(imp_uid)
                    assert ("duplicate_payment", imp_uid) in open_problems or ended
                case "withdrawn":
                    assert ("duplicate_payment", imp_uid) not in open_problems
                    assert calls[imp_uid] == 0
                case state:
                    pytest.fail(f"{imp_uid} is still {state}")
        assert sum(calls[imp_uid] for imp_uid in (self.first, self.duplicate)) <= 1

    async def _pays(self, imp_uid: str) -> bool:
        row = await self.shop.pool.fetchrow("SELECT state, imp_uid FROM orders WHERE merchant_uid = $1", self.order)
        return row is not None and (row["state"], row["imp_uid"]) == ("paid", imp_uid)
