"""Where a scenario is played: the service, the sandbox, the orders registered so far, and a line for each step."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from cli.calls import Refused, Server
from cli.errors import CommandFailed
from cli.order_page import money, page
from cli.sandbox_calls import AS_PORTONE_DOES, Control, Webhook, delivery_line, payment_line

AMOUNT = 64_900
_POLL_SECONDS = 0.1


class Stage:
    """One playing of one scenario. Its orders have numbers of their own, so it can be played again and again."""

    patience_seconds = 20.0

    def __init__(
        self, name: str, service: Server, control: Control, echo: Callable[[str], None], tier: str = ""
    ) -> None:
        self.tier = tier
        self.merchant_uid = f"{name}-{secrets.token_hex(4)}"
        self.registered: list[str] = []
        self._service, self._control, self._echo = service, control, echo
        self._steps = 0

    def say(self, text: str) -> None:
        """A step."""
        self._steps += 1
        self._echo(f"{self._steps:>3}. {text}")

    async def register(self, **terms: Any) -> None:
        order = {"merchant_uid": self.merchant_uid, "amount": AMOUNT, **terms}
        answer = await self._service.call("POST", "/orders", order)
        self.registered.append(self.merchant_uid)
        self.say(f"The shop registers {self.merchant_uid}, {money(AMOUNT, 'KRW')}: {answer['state']}")

    async def register_another(self) -> None:
        """A second order of equal price; what comes then is about it."""
        self.merchant_uid += "-b"
        await self.register()

    async def open(self, amount: str = str(AMOUNT), **terms: Any) -> str:
        """A payment window; its imp_uid."""
        payment = await self._control.open(self.merchant_uid, amount, **terms)
        self.say(f"A window is opened: {payment_line(payment)}")
        return str(payment["imp_uid"])

    async def pay(self, webhook: Webhook = AS_PORTONE_DOES, amount: str = str(AMOUNT), **terms: Any) -> str:
        """Open a window and pay; the payment's imp_uid."""
        imp_uid = await self.open(amount, **terms)
        await self.move(imp_uid, "pay", webhook)
        return imp_uid

    async def move(self, imp_uid: str, action: str, webhook: Webhook = AS_PORTONE_DOES, **how: Any) -> None:
        moved = await self._control.move(imp_uid, action, webhook, **how)
        self.say(f"PortOne, {action}: {payment_line(moved.payment)}")
        for delivery in moved.deliveries:
            self._echo(f"     {delivery_line(delivery)}")

    async def complete(self, imp_uid: str) -> None:
        """The browser's call, without a key: the service answers it, or refuses."""
        browser = replace(self._service, headers={"Prefer": "wait=1"})
        body = {"imp_uid": imp_uid, "merchant_uid": self.merchant_uid}
        try:
            answer = (await browser.call("POST", "/payment/complete", body)).get("state", "not known yet")
        except Refused as refused:
            answer = f"HTTP {refused.status}, {refused}"
        self.say(f"The browser says that {imp_uid} paid {self.merchant_uid}: {answer}")

    async def press_test_button(self) -> None:
        deliveries = await self._control.send_console_test()
        self.say("The console's test button")
        for delivery in deliveries:
            self._echo(f"     {delivery_line(delivery)}")
        if [delivery["answer_status"] for delivery in deliveries] != [200]:
            raise CommandFailed("The test button's webhook was not answered 200.")

    async def reads(self, within_seconds: float = 0, problems: list[str] | None = None, **facts: Any) -> None:
        """Wait until the order reads so, its problems too. Raises CommandFailed."""
        began, expected = time.monotonic(), facts | {"problems": problems or []}
        seconds = within_seconds or self.patience_seconds
        while (order := await self._told(self.merchant_uid)) and not expected.items() <= _facts(order).items():
            if time.monotonic() - began > seconds:
                raise CommandFailed(_disappointed(self.merchant_uid, seconds, expected, _facts(order)))
            await asyncio.sleep(_POLL_SECONDS)
        self.say(f"The order reads {order['state']} after {time.monotonic() - began:.1f} s")

    async def show(self) -> None:
        """What each order reads."""
        for merchant_uid in self.registered:
            self._echo("")
            self._echo("\n".join(page(await self._told(merchant_uid))))

    async def _told(self, merchant_uid: str) -> dict[str, Any]:
        return await self._service.call("GET", f"/orders/{quote(merchant_uid, safe='')}")


def _facts(order: dict[str, Any]) -> dict[str, Any]:
    return order | {"problems": [problem["kind"] for problem in order["problems"]]}


def _disappointed(merchant_uid: str, seconds: float, expected: dict[str, Any], found: dict[str, Any]) -> str:
    wanted = ", ".join(f"{name}={value}" for name, value in expected.items())
    told = ", ".join(f"{name}={found[name]}" for name in expected)
    return f"{merchant_uid} reads {told} after {seconds:g} s, and should read {wanted}: does a worker run?"
