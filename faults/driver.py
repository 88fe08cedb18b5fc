"""Play buyers and a shop: seeded payments of every kind, made and announced through the sandbox."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from faults.stack import KEY, TIER, ControlRefused, Stack

# With these answers the notice was recorded. 202 and 400 are about the order, not about the notice.
_ACKNOWLEDGED = (200, 202, 400)
_PAUSES = (0.0, 0.02, 0.1, 0.4, 1.0)


class Driver:
    """Makes orders and payments for a number of seconds, and counts the acknowledged notices by imp_uid."""

    def __init__(self, stack: Stack, seed: int, orders: int, seconds: float) -> None:
        self.stack, self.count, self.seconds = stack, orders, seconds
        self.rng = random.Random(f"driver {seed}")  # noqa: S311 - a run that can be repeated
        self.seed = seed
        self.acknowledged: Counter[str] = Counter()
        self.registered: set[str] = set()
        self.kinds: Counter[str] = Counter()
        self._errands: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start every order at its own time. Returns when the last payment has made its last move."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                rng = random.Random(f"{self.seed} {number}")  # noqa: S311
                delay = self.rng.uniform(0, self.seconds * 0.7)
                group.create_task(self._buy(number, rng, delay))
        if self._errands:
            await asyncio.wait(self._errands, timeout=3)

    async def _buy(self, number: int, rng: random.Random, delay: float) -> None:
        name, (kind, life) = f"e{self.seed}-{number}", rng.choice(sorted(self._lives().items()))
        # An order that is never registered keeps its notice open for the grace time, and an episode is short.
        await asyncio.sleep(delay * (0.2 if kind == "never registered" else 1))
        self.kinds[kind] += 1
        amount = rng.choice((1000, 64900, 500))
        await life(Buyer(self, name, amount, rng))

    def _lives(self) -> dict[str, Callable[["Buyer"], Coroutine[Any, Any, object]]]:
        return {
            "paid": Buyer.pays,
            "failed, then paid": Buyer.fails_then_pays,
            "virtual account": Buyer.deposits,
            "partial refund": Buyer.is_refunded_a_part,
            "full refund": Buyer.is_refunded,
            "two windows": Buyer.pays_twice,
            "wrong amount": Buyer.pays_too_little,
            "test channel": Buyer.pays_by_test,
            "abandoned": Buyer.abandons,
            "registered later": Buyer.is_registered_late,
            "never registered": Buyer.is_never_registered,
            "tier": Buyer.pays_in_tier,
            "wrong tier": Buyer.pays_in_wrong_tier,
        }

    def errand(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def register(self, name: str, amount: int, tier: str | None) -> None:
        """Register an order as a shop would: try again until it succeeds."""
        assert self.stack.session  # noqa: S101
        body = {"merchant_uid": name, "amount": amount, **({"tier": tier} if tier else {})}
        while name not in self.registered:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.stack.session.post(
                    f"{self.stack.entry_url}/orders", json=body, headers={"Authorization": f"Bearer {KEY}"}
                ) as answer:
                    if answer.status in (200, 201):
                        self.registered.add(name)
                        return
            await asyncio.sleep(0.2)

    async def complete(self, imp_uid: str, name: str) -> None:
        """Make a browser's completion call once, whatever the answer."""
        assert self.stack.session  # noqa: S101
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self.stack.session.post(
                f"{self.stack.entry_url}/payment/complete",
                json={"imp_uid": imp_uid, "merchant_uid": name},
                headers={"Prefer": "wait=1"},
                timeout=aiohttp.ClientTimeout(total=12),
            ) as answer:
                if answer.status in _ACKNOWLEDGED:
                    self.acknowledged[imp_uid] += 1


class Buyer:
    """One order and its payments."""

    def __init__(self, driver: Driver, name: str, amount: int, rng: random.Random) -> None:
        self.driver, self.name, self.amount, self.rng = driver, name, amount, rng

    async def pays(self, **terms: Any) -> str:
        await self._register(terms.get("tier"))
        return await self._open_and_pay(**terms)

    async def pays_in_tier(self) -> None:
        await self.pays(tier=TIER)

    async def pays_in_wrong_tier(self) -> None:
        await self._register(None)
        await self._open_and_pay(tier=TIER)

    async def pays_by_test(self) -> None:
        await self.pays(sandbox=True)

    async def pays_too_little(self) -> None:
        await self._register(None)
        await self._open_and_pay(amount=self.amount - 100)

    async def fails_then_pays(self) -> None:
        await self._register(None)
        imp_uid = await self._open()
        await self._move(imp_uid, "fail")
        if self.rng.random() < 0.7:
            await self._move(imp_uid, "pay")
            self._complete(imp_uid)

    async def deposits(self) -> None:
        await self._register(None)
        imp_uid = await self._open(pay_method="vbank")
        await self._move(imp_uid, "issue")
        self._complete(imp_uid)
        if self.rng.random() < 0.7:
            await self._move(imp_uid, "deposit")

    async def is_refunded_a_part(self) -> None:
        imp_uid = await self.pays()
        for _ in range(self.rng.randint(1, 2)):
            await self._move(imp_uid, "cancel", amount=self.rng.randint(1, self.amount // 3))

    async def is_refunded(self) -> None:
        imp_uid = await self.pays()
        await self._move(imp_uid, "cancel")

    async def pays_twice(self) -> None:
        await self._register(None)
        windows = [await self._open(force=True), await self._open(force=True)]
        for imp_uid in windows:
            await self._move(imp_uid, "pay", force=True)
            self._complete(imp_uid)

    async def abandons(self) -> None:
        await self._register(None)
        await self._move(await self._open(), "abandon")

    async def is_registered_late(self) -> None:
        await self._open_and_pay()
        await asyncio.sleep(self.rng.uniform(0.1, 2.5))
        await self._register(None)

    async def is_never_registered(self) -> None:
        await self._open_and_pay()

    async def _register(self, tier: str | None) -> None:
        await self.driver.register(self.name, self.amount, tier)

    async def _open_and_pay(self, **terms: Any) -> str:
        imp_uid = await self._open(**terms)
        await self._move(imp_uid, "pay")
        self._complete(imp_uid)
        return imp_uid

    async def _open(self, **terms: Any) -> str:
        body = {"merchant_uid": self.name, "amount": self.amount} | terms
        await self._pause()
        return str((await self.driver.stack.control("POST", "payments", body, seconds=10))["imp_uid"])

    async def _move(self, imp_uid: str, move: str, **options: Any) -> None:
        """Make the move. Its webhook may take longer, and nobody waits for it here."""
        await self._pause()
        with contextlib.suppress(TimeoutError):
            try:
                await self.driver.stack.control("POST", f"payments/{imp_uid}/{move}", options, seconds=1.5)
            except ControlRefused as refused:
                raise RuntimeError(f"{self.name} {move}: {refused}") from refused

    def _complete(self, imp_uid: str) -> None:
        if self.rng.random() < 0.5:
            self.driver.errand(self.driver.complete(imp_uid, self.name))

    async def _pause(self) -> None:
        await asyncio.sleep(self.rng.choice(_PAUSES))
