"""Buyers and a shop: payments of every kind, by seed, made through the sandbox and told of as in life."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from faults.stack import KEY, TIER, ControlRefused, Stack

# These answers say that the notice was recorded: 202 and the refusals are about the order, not the notice.
_ACKNOWLEDGED = (200, 202, 400)
_PAUSES = (0.0, 0.02, 0.1, 0.4, 1.0)


class Driver:
    """Makes orders and payments for so many seconds; counts what was acknowledged, by imp_uid."""

    def __init__(self, stack: Stack, seed: int, orders: int, seconds: float) -> None:
        self.stack, self.count, self.seconds = stack, orders, seconds
        self.rng = random.Random(f"driver {seed}")  # noqa: S311 - a run that can be had again
        self.seed = seed
        self.acknowledged: Counter[str] = Counter()
        self.registered: set[str] = set()
        self.kinds: Counter[str] = Counter()
        self._errands: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """All of them, begun at times of their own; returns when the last move is made."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                rng = random.Random(f"{self.seed} {number}")  # noqa: S311
                start = self.rng.uniform(0, self.seconds * 0.7)
                group.create_task(self._buy(number, rng, start))
        if self._errands:
            await asyncio.wait(self._errands, timeout=3)

    async def _buy(self, number: int, rng: random.Random, start: float) -> None:
        name, (kind, life) = f"e{self.seed}-{number}", rng.choice(sorted(self._lives().items()))
        # An order that never comes keeps its notice open for the grace time, and an episode is short.
        await asyncio.sleep(start * (0.2 if kind == "never registered" else 1))
        self.kinds[kind] += 1
        amount = rng.choice((1000, 64900, 500))
        await life(Buyer(self, name, amount, rng))

    def _lives(self) -> dict[str, Callable[["Buyer"], Coroutine[Any, Any, None]]]:
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
        """Something that nobody waits for."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def register(self, name: str, amount: int, tier: str | None) -> None:
        """A shop tries until its order is registered."""
        assert self.stack.session  # noqa: S101
        body = {"merchant_uid": name, "amount": amount, **({"tier": tier} if tier else {})}
        while name not in self.registered:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.stack.session.post(
                    f"{self.stack.door}/orders", json=body, headers={"Authorization": f"Bearer {KEY}"}
                ) as answer:
                    if answer.status in (200, 201):
                        self.registered.add(name)
                        return
            await asyncio.sleep(0.2)

    async def complete(self, imp_uid: str, name: str) -> None:
        """A browser says that it has paid, and is gone if nobody answers."""
        assert self.stack.session  # noqa: S101
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self.stack.session.post(
                f"{self.stack.door}/payment/complete",
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
        return await self._opens_and_pays(**terms)

    async def pays_in_tier(self) -> None:
        await self.pays(tier=TIER)

    async def pays_in_wrong_tier(self) -> None:
        await self._register(None)
        await self._opens_and_pays(tier=TIER)

    async def pays_by_test(self) -> None:
        await self.pays(sandbox=True)

    async def pays_too_little(self) -> None:
        await self._register(None)
        await self._opens_and_pays(amount=self.amount - 100)

    async def fails_then_pays(self) -> None:
        await self._register(None)
        imp_uid = await self._opens()
        await self._moves(imp_uid, "fail")
        if self.rng.random() < 0.7:
            await self._moves(imp_uid, "pay")
            self._says_so(imp_uid)

    async def deposits(self) -> None:
        await self._register(None)
        imp_uid = await self._opens(pay_method="vbank")
        await self._moves(imp_uid, "issue")
        self._says_so(imp_uid)
        if self.rng.random() < 0.7:
            await self._moves(imp_uid, "deposit")

    async def is_refunded_a_part(self) -> None:
        imp_uid = await self.pays()
        for _ in range(self.rng.randint(1, 2)):
            await self._moves(imp_uid, "cancel", amount=self.rng.randint(1, self.amount // 3))

    async def is_refunded(self) -> None:
        imp_uid = await self.pays()
        await self._moves(imp_uid, "cancel")

    async def pays_twice(self) -> None:
        await self._register(None)
        windows = [await self._opens(force=True), await self._opens(force=True)]
        for imp_uid in windows:
            await self._moves(imp_uid, "pay", force=True)
            self._says_so(imp_uid)

    async def abandons(self) -> None:
        await self._register(None)
        await self._moves(await self._opens(), "abandon")

    async def is_registered_late(self) -> None:
        await self._opens_and_pays()
        await asyncio.sleep(self.rng.uniform(0.1, 2.5))
        await self._register(None)

    async def is_never_registered(self) -> None:
        await self._opens_and_pays()

    async def _register(self, tier: str | None) -> None:
        await self.driver.register(self.name, self.amount, tier)

    async def _opens_and_pays(self, **terms: Any) -> str:
        imp_uid = await self._opens(**terms)
        await self._moves(imp_uid, "pay")
        self._says_so(imp_uid)
        return imp_uid

    async def _opens(self, **terms: Any) -> str:
        body = {"merchant_uid": self.name, "amount": self.amount} | terms
        await self._pause()
        return str((await self.driver.stack.control("POST", "payments", body, seconds=10))["imp_uid"])

    async def _moves(self, imp_uid: str, move: str, **how: Any) -> None:
        """The move is made at once; its webhook may take as long as it likes."""
        await self._pause()
        with contextlib.suppress(TimeoutError):
            try:
                await self.driver.stack.control("POST", f"payments/{imp_uid}/{move}", how, seconds=1.5)
            except ControlRefused as refused:
                raise RuntimeError(f"{self.name} {move}: {refused}") from refused

    def _says_so(self, imp_uid: str) -> None:
        if self.rng.random() < 0.5:
            self.driver.errand(self.driver.complete(imp_uid, self.name))

    async def _pause(self) -> None:
        await asyncio.sleep(self.rng.choice(_PAUSES))
