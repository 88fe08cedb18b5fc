"""Buyers of every kind, each with one order, its payments and what is asked about them."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from faults.answer_oracle import verified_state
from faults.stack import OTHER_ACCOUNT, TIER, ControlRefused

if TYPE_CHECKING:
    from faults.driver import Driver

_PAUSES = (0.0, 0.02, 0.1, 0.4, 1.0)


class Buyer:
    """One order and its payments."""

    def __init__(self, driver: "Driver", name: str, amount: int, rng: random.Random) -> None:
        self.driver, self.name, self.amount, self.rng = driver, name, amount, rng

    async def pays(self, **terms: Any) -> str:
        await self._register(**{name: terms[name] for name in ("tier", "account") if name in terms})
        return await self._open_and_pay(**terms)

    async def pays_in_tier(self) -> None:
        await self.pays(tier=TIER)

    async def pays_in_wrong_tier(self) -> None:
        await self._register()
        await self._open_and_pay(tier=TIER)

    async def pays_in_other_account(self) -> None:
        await self.pays(account=OTHER_ACCOUNT)

    async def pays_in_wrong_account(self) -> None:
        """Pay under another account than the order's and, perhaps, under its own too."""
        right, wrong = self.rng.sample(({"account": OTHER_ACCOUNT}, {}), 2)
        await self._register(**right)
        await self._open_and_pay(**wrong)
        if self.rng.random() < 0.4:
            await self._open_and_pay(**right)

    async def pays_by_test(self) -> None:
        await self.pays(sandbox=True)

    async def pays_too_little(self) -> None:
        await self._register()
        await self._open_and_pay(amount=self.amount - 100)

    async def fails_then_pays(self) -> None:
        await self._register()
        imp_uid = await self._open()
        await self._move(imp_uid, "fail")
        if self.rng.random() < 0.7:
            await self._move(imp_uid, "pay")
            self._complete(imp_uid)

    async def deposits(self) -> None:
        await self._register()
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

    async def pays_twice(self) -> list[str]:
        """Pay in two windows: the policy has one of them refunded."""
        store = self.rng.choice(({}, {"account": OTHER_ACCOUNT}))
        await self._register(**store)
        windows = [await self._open(force=True, **store), await self._open(force=True, **store)]
        for imp_uid in windows:
            await self._move(imp_uid, "pay", force=True)
            self._complete(imp_uid)
        return windows

    async def pays_twice_and_gets_one_back(self) -> None:
        """Pay in two windows, one of which the shop gives back in PortOne's console: the other must be kept."""
        windows = await self.pays_twice()
        await self._move(self.rng.choice(windows), "cancel")

    async def pays_too_little_and_is_refunded(self) -> None:
        await self._register()
        imp_uid = await self._open_and_pay(amount=self.amount - 100)
        await self.driver.person.have_refunded(self.name, imp_uid)

    async def abandons(self) -> None:
        await self._register()
        await self._move(await self._open(), "abandon")

    async def is_registered_late(self) -> None:
        await self._open_and_pay()
        await asyncio.sleep(self.rng.uniform(0.1, 2.5))
        await self._register()

    async def is_never_registered(self) -> None:
        await self._open_and_pay()

    async def _register(self, **store: str) -> None:
        await self.driver.register(self.name, self.amount, **store)

    async def _open_and_pay(self, **terms: Any) -> str:
        imp_uid = await self._open(**terms)
        await self._move(imp_uid, "pay")
        self._complete(imp_uid)
        return imp_uid

    async def _open(self, **terms: Any) -> str:
        """Open a window. PortOne may ask about it before it is paid, and a stranger with another amount."""
        body = {"merchant_uid": self.name, "amount": self.amount} | terms
        await self._pause()
        imp_uid = str((await self.driver.stack.control("POST", "payments", body, seconds=10))["imp_uid"])
        for amount, chance in ((int(terms.get("amount", self.amount)), 0.3), (self.amount - 1, 0.1)):
            if self.rng.random() < chance:
                await self.driver.asking.confirm(imp_uid, self.name, amount)
        return imp_uid

    async def _move(self, imp_uid: str, move: str, **options: Any) -> None:
        """Make the move. Its webhook may take longer, and nobody waits for it here."""
        await self._pause()
        with contextlib.suppress(TimeoutError):
            try:
                await self.driver.stack.control("POST", f"payments/{imp_uid}/{move}", options, seconds=1.5)
            except ControlRefused as refused:
                raise RuntimeError(f"{self.name} {move}: {refused}") from refused

    def _complete(self, imp_uid: str) -> None:
        """Have the browser say that it has paid, in one of the ways that there are, or not at all."""
        asking, chance = self.driver.asking, self.rng.random()
        if chance < 0.4:
            self.driver.errand(self._complete_then_ask(imp_uid))
        elif chance < 0.5:
            self.driver.errand(asking.complete_order(self.name))
        elif chance < 0.6:
            self.driver.errand(asking.come_back(imp_uid, self.name))
        elif chance < 0.7:
            self.driver.errand(asking.complete(imp_uid, self.driver.other_order(self.name)))

    async def _complete_then_ask(self, imp_uid: str) -> None:
        """Complete the payment. Once its order is said to be paid, another window may ask for the money again."""
        answer = await self.driver.asking.complete(imp_uid, self.name)
        if answer and verified_state(answer) == "paid" and self.rng.random() < 0.3:
            await self.driver.asking.confirm(imp_uid, self.name, self.amount)

    async def _pause(self) -> None:
        await asyncio.sleep(self.rng.choice(_PAUSES))


LIVES: dict[str, Callable[[Buyer], Coroutine[Any, Any, object]]] = {
    "paid": Buyer.pays,
    "failed, then paid": Buyer.fails_then_pays,
    "virtual account": Buyer.deposits,
    "partial refund": Buyer.is_refunded_a_part,
    "full refund": Buyer.is_refunded,
    "two windows": Buyer.pays_twice,
    "two windows, one given back": Buyer.pays_twice_and_gets_one_back,
    "wrong amount": Buyer.pays_too_little,
    "wrong amount, refunded": Buyer.pays_too_little_and_is_refunded,
    "test channel": Buyer.pays_by_test,
    "abandoned": Buyer.abandons,
    "registered later": Buyer.is_registered_late,
    "never registered": Buyer.is_never_registered,
    "tier": Buyer.pays_in_tier,
    "wrong tier": Buyer.pays_in_wrong_tier,
    "other account": Buyer.pays_in_other_account,
    "wrong account": Buyer.pays_in_wrong_account,
}
# What follows these takes a scaled wait of 6 s (the grace time, or that of a refund), and an episode is short.
EARLY = frozenset({"never registered", "two windows", "two windows, one given back", "wrong amount, refunded"})
