"""Play buyers and a shop: seeded payments of every kind, made and announced through the sandbox."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import aiohttp

from faults.answer_oracle import Registered
from faults.answers import Asking
from faults.buyers import EARLY, LIVES, Buyer
from faults.shop_person import Person
from faults.stack import KEY, Stack


class Driver:
    """Makes orders and payments for some seconds. `asking` has what was answered, `orders` what was registered."""

    def __init__(self, stack: Stack, seed: int, orders: int, seconds: float) -> None:
        self.stack, self.count, self.seconds = stack, orders, seconds
        self.rng = random.Random(f"driver {seed}")  # noqa: S311 - a run that can be repeated
        self.seed = seed
        self.orders: dict[str, Registered] = {}
        self.kinds: Counter[str] = Counter()
        self.asking, self.person = Asking(stack), Person(stack)
        self.began_at = time.time()
        self._errands: set[asyncio.Task[object]] = set()

    async def run(self) -> None:
        """Start every order at its own time. Returns when the last payment has made its last move."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                rng = random.Random(f"{self.seed} {number}")  # noqa: S311
                delay = self.rng.uniform(0, self.seconds * 0.55)
                group.create_task(self._buy(number, rng, delay))
        if self._errands:
            await asyncio.wait(self._errands, timeout=3)

    @property
    def registered(self) -> set[str]:
        """The orders that the shop knows to be registered."""
        return {name for name, order in self.orders.items() if order.done_at is not None}

    async def _buy(self, number: int, rng: random.Random, delay: float) -> None:
        kind, life = rng.choice(sorted(LIVES.items()))
        await asyncio.sleep(delay * (0.1 if kind in EARLY else 1))
        self.kinds[kind] += 1
        amount = rng.choice((1000, 64900, 500))
        await life(Buyer(self, f"e{self.seed}-{number}", amount, rng))

    def errand(self, work: Coroutine[Any, Any, object]) -> None:
        """Run something in the background."""
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def other_order(self, name: str) -> str:
        """Return the number of another order: somebody tries to have it paid by a payment that is not its own."""
        return self.rng.choice(sorted(self.registered - {name}) or [f"{name}-invented"])

    async def register(self, name: str, amount: int, **store: str) -> None:
        """Register an order as a shop would: try again until it succeeds."""
        assert self.stack.session  # noqa: S101
        terms = {"amount": amount, "currency": "KRW", "account": "default", "tier": ""} | store
        began_at = time.time()
        self.orders[name] = Registered(terms, began_at)
        body = {"merchant_uid": name, "amount": amount} | store
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self.stack.session.post(
                    f"{self.stack.entry_url}/orders", json=body, headers={"Authorization": f"Bearer {KEY}"}
                ) as answer:
                    if answer.status in (200, 201):
                        self.orders[name] = Registered(terms, began_at, time.time())
                        return
            await asyncio.sleep(0.2)
