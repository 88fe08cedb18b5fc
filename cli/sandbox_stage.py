"""The stage of a scenario: the service, the sandbox, the orders registered so far, and a line for each step."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from cli.calls import CallRefused, Server
from cli.errors import CommandFailed
from cli.order_page import money, page
from cli.sandbox_calls import AS_PORTONE_DOES, Control, Webhook, delivery_line, payment_line

AMOUNT = 64_900
_POLL_SECONDS = 0.1


class Stage:
    """One play of one scenario. Its orders have new numbers, so a scenario can be played again and again."""

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
        """Print a step with its number."""
        self._steps += 1
        self._echo(f"{self._steps:>3}. {text}")

    async def register(self, **terms: Any) -> None:
        order = {"merchant_uid": self.merchant_uid, "amount": AMOUNT, **terms}
        answer = await self._service.call("POST", "/orders", order)
        self.registered.append(self.merchant_uid)
        self.say(f"The shop registers {self.merchant_uid}, {money(AMOUNT, 'KRW')}: {answer['state']}")

    async def register_another(self) -> None:
        """Register a second order of equal price. The next steps are about it."""
        self.merchant_uid += "-b"
        await self.register()

    async def open(self, amount: str = str(AMOUNT), **terms: Any) -> str:
        """Open a payment window. Returns its imp_uid."""
        payment = await self._control.open(self.merchant_uid, amount, **terms)
        self.say(f"A window is opened: {payment_line(payment)}")
        return str(payment["imp_uid"])

    async def pay(self, webhook: Webhook = AS_PORTONE_DOES, amount: str = str(AMOUNT), **terms: Any) -> str:
        """Open a window and pay. Returns the payment's imp_uid."""
        imp_uid = await self.open(amount, **terms)
        await self.move(imp_uid, "pay", webhook)
        return imp_uid

    async def move(self, imp_uid: str, action: str, webhook: Webhook = AS_PORTONE_DOES, **options: Any) -> None:
        moved = await self._control.move(imp_uid, action, webhook, **options)
        self.say(f"PortOne, {action}: {payment_line(moved.payment)}")
        for delivery in moved.deliveries:
            self._echo(f"     {delivery_line(delivery)}")

    async def complete(self, imp_uid: str) -> None:
        """Make the browser's completion call, without a key, and print the answer or refusal."""
        browser = replace(self._service, headers={"Prefer": "wait=1"})
        body = {"imp_uid": imp_uid, "merchant_uid": self.merchant_uid}
        try:
            answer = (await browser.call("POST", "/payment/complete", body)).get("state", "not known yet")
        except CallRefused as refused:
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
        """Wait until the order has these facts and just these problems. Raises CommandFailed when the time is up."""
        began, expected = time.monotonic(), facts | {"problems": problems or []}
        seconds = within_seconds or self.patience_seconds
        while (order := await self._read_order(self.merchant_uid)) and not expected.items() <= _facts(order).items():
            if time.monotonic() - began > seconds:
                raise CommandFailed(_failure(self.merchant_uid, seconds, expected, _facts(order)))
            await asyncio.sleep(_POLL_SECONDS)
        self.say(f"The order reads {order['state']} after {time.monotonic() - began:.1f} s")

    async def show(self) -> None:
        """Print each order."""
        for merchant_uid in self.registered:
            self._echo("")
            self._echo("\n".join(page(await self._read_order(merchant_uid))))

    async def _read_order(self, merchant_uid: str) -> dict[str, Any]:
        return await self._service.call("GET", f"/orders/{quote(merchant_uid, safe='')}")


def _facts(order: dict[str, Any]) -> dict[str, Any]:
    return order | {"problems": [problem["kind"] for problem in order["problems"]]}


def _failure(merchant_uid: str, seconds: float, expected: dict[str, Any], facts: dict[str, Any]) -> str:
    target = ", ".join(f"{name}={value}" for name, value in expected.items())
    actual = ", ".join(f"{name}={facts[name]}" for name in expected)
    return f"{merchant_uid} reads {actual} after {seconds:g} s, but should read {target}: is a worker running?"
