"""Two refunders, looks, a console and crashes, interleaved at every await: no payment is asked for twice.

A few schedules here; `make refund-schedules` runs 1,000 (issue: every life of a payment, Must show 4).
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
from workers.tasks import Parts

SCHEDULES = int(os.environ.get("REFUND_SCHEDULES", "12"))
FIRST_SEED = int(os.environ.get("REFUND_SCHEDULES_FROM", "0"))

# Nothing waits but for its turn; in the end, what is still not known is unknown.
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
    """A connection for every actor."""
    opened = await open_pool(database_url, 20)
    yield opened
    await opened.close()


class Arrivals(Counter[str]):
    """How often a refund of each payment arrived at PortOne through its API; `refusing`: it is told no."""

    refusing = False


@pytest.fixture
def calls(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    ledger, arrived = sandbox.app[WORLD].ledger, Arrivals()
    cancel = ledger.cancel

    def counted(payment: Payment, refund: Refund, **how: Any) -> None:
        if refund.reason == "duplicate_payment":  # the console's has none
            arrived[payment.imp_uid] += 1
            if arrived.refusing:
                raise Refused("은행 점검 시간입니다.")
        cancel(payment, refund, **how)

    monkeypatch.setattr(ledger, "cancel", counted)
    return arrived


@pytest.mark.timeout(1800)
async def test_no_schedule_asks_twice(
    parts: Parts,
    settings: Settings,
    sandbox: RunningSandbox,
    wide_pool: Pool,
    calls: Arrivals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every payment is asked for at most once, and every intent ends refunded, or open before a person."""
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
    if "REFUND_SCHEDULES" in os.environ:  # a long run, whose figures are wanted
        with capsys.disabled():
            print(f"\n{dict(totals)}; calls {calls.total()}, double refunds {double}; ends {dict(ends)}")  # noqa: T201
    assert double == 0


class _Schedule:
    """One order paid twice, and all that happens to it."""

    def __init__(self, seed: int, shop: Shop, verifier: Verifier, portone: PortOne) -> None:
        self.random = Random(seed)
        self.shop, self.verifier, self.portone = shop, verifier, portone
        self.order = f"order-{seed}"
        self.turns = Turns(self.random, crash_at=seed % 250, crashes=self.random.randint(0, 4))
        self.late = self.random.random() < 0.2
        self.console = self.random.random() < 0.3
        self.refused = self.random.random() < 0.15
        self.duplicate = self.kept = ""

    async def run(self) -> str:
        terms = {"async_cancel": True} if self.random.random() < 0.2 else {}
        self.kept, self.duplicate = await self.shop.paid_twice(self.order, **terms)
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
        await replace(self.shop, pool=pool, verifier=verifier).tell(self.order, self.kept, self.duplicate)

    async def _refund_in_the_console(self) -> None:
        """A person was faster: the whole or a part, of either payment."""
        for _ in range(self.random.randint(0, 120)):
            await self.turns.gate()
        imp_uid, amount = self.random.choice([self.kept, self.duplicate]), self.random.choice([None, 900])
        payment = self.shop.sandbox.app[WORLD].ledger.payment(imp_uid)
        if payment.status == "paid" and refundable(payment) > 0:
            await self.shop.sandbox.move(imp_uid, "cancel", **({"amount": amount} if amount else {}))

    async def _come_to_an_end(self) -> str:
        """The troubles are over, workers go on, an asynchronous channel finishes, time passes."""
        refunder = make_refunder(self.verifier, self.portone, times=NO_WAITS, max_per_hour=1_000_000)
        for _ in range(2):
            await self.shop.tell(self.order, self.kept, self.duplicate)
            await refunder.intents.intend_due()
            await refunder.refund_due()
            for imp_uid in (self.kept, self.duplicate):
                while (await self.shop.truth(imp_uid))["pending_cancels"]:
                    await self.shop.sandbox.move(imp_uid, "finish-cancel")
            await refunder.close_asked()
        await make_refunder(self.verifier, self.portone, times=AT_THE_END).close_asked()
        await self.shop.tell(self.order, self.kept, self.duplicate)
        states = await self.shop.pool.fetch("SELECT state FROM refunds WHERE merchant_uid = $1", self.order)
        return ", ".join(sorted(row["state"] for row in states)) or "no intent"

    async def check(self, calls: Counter[str]) -> None:
        """Nothing was asked for twice; each end is what PortOne shows, or stands open on the order."""
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
                    # Still a finding, unless the console ended it: of this payment, or of the one before it.
                    ended = truth["cancel_amount"] or await self._pays(imp_uid)
                    assert ("duplicate_payment", imp_uid) in open_problems or ended
                case "withdrawn":
                    assert ("duplicate_payment", imp_uid) not in open_problems
                    assert calls[imp_uid] == 0
                case other:
                    pytest.fail(f"{imp_uid} is left {other}")
        assert sum(calls[imp_uid] for imp_uid in (self.kept, self.duplicate)) <= 1

    async def _pays(self, imp_uid: str) -> bool:
        row = await self.shop.pool.fetchrow("SELECT state, imp_uid FROM orders WHERE merchant_uid = $1", self.order)
        return row is not None and (row["state"], row["imp_uid"]) == ("paid", imp_uid)
