"""Call the sandbox's control API, for the commands and the scenarios."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

from cli.calls import CallRefused, Server
from cli.errors import CommandFailed
from cli.order_page import money
from service.domain.money import InexactAmount, to_minor

SandboxPayment = dict[str, Any]
Delivery = dict[str, Any]


class Encoding(StrEnum):
    """The encoding of a webhook. `never` sends none."""

    JSON = "json"
    FORM = "form"
    BOTH = "both"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The way to send a payment's webhook. The default is as PortOne itself would, which may be not at all."""

    sending: Encoding | None = None
    times: int = 1
    late_seconds: float = 0

    @property
    def is_as_portone_does(self) -> bool:
        return self == AS_PORTONE_DOES


AS_PORTONE_DOES = Webhook()


@dataclass(frozen=True, slots=True)
class Moved:
    """A payment after its move, and the deliveries of the webhooks that announced it."""

    payment: SandboxPayment
    deliveries: list[Delivery]


@dataclass(frozen=True, slots=True)
class Control:
    """The control API (`/_control/…`) of one sandbox."""

    server: Server

    async def open(self, merchant_uid: str, amount: str, **terms: Any) -> SandboxPayment:
        """Open a payment window. Terms: currency, tier, sandbox (test channel), pay_method, imp_uid."""
        chosen = {key: value for key, value in terms.items() if value}
        return await self._post("/payments", {"merchant_uid": merchant_uid, "amount": amount, **chosen})

    async def find(self, name: str) -> SandboxPayment:
        """Return a payment by its imp_uid, or the latest payment of a merchant_uid."""
        try:
            return await self.server.call("GET", f"/_control/payments/{quote(name, safe='')}")
        except CallRefused as refused:
            if refused.status != 404:
                raise
        attempts = await self.payments(name)
        if not attempts:
            raise CommandFailed(f"The sandbox has no payment {name!r}, neither as imp_uid nor as merchant_uid.")
        return attempts[-1]

    async def payments(self, merchant_uid: str | None = None) -> list[SandboxPayment]:
        query = f"?{urlencode({'merchant_uid': merchant_uid})}" if merchant_uid else ""
        payments: list[SandboxPayment] = (await self.server.call("GET", f"/_control/payments{query}"))["payments"]
        return payments

    async def move(self, imp_uid: str, action: str, webhook: Webhook = AS_PORTONE_DOES, **options: Any) -> Moved:
        """Move it: pay, fail, issue, deposit, expire or cancel. Returns once its webhooks were answered."""
        path = f"/payments/{quote(imp_uid, safe='')}/{action}"
        if not webhook.is_as_portone_does:
            payment = await self._post(path, options | {"webhook": False})
            return Moved(payment, await self.send(imp_uid, webhook, status=payment["status"]))
        before = len(await self._deliveries(imp_uid))
        payment = await self._post(path, options)
        return Moved(payment, (await self._deliveries(imp_uid))[before:])

    async def send(self, imp_uid: str, webhook: Webhook, **options: Any) -> list[Delivery]:
        """Send a payment's webhook, whatever the fault switches say. Options: status, tier, url."""
        if webhook.sending is Encoding.NEVER:
            return []
        await asyncio.sleep(webhook.late_seconds)
        chosen = {"format": webhook.sending, "times": webhook.times} | {k: v for k, v in options.items() if v}
        deliveries: list[Delivery] = (await self._post("/webhooks/send", {"imp_uid": imp_uid, **chosen}))["deliveries"]
        return deliveries

    async def send_console_test(self, sending: Encoding | None = None) -> list[Delivery]:
        """Send the dummy body of the console's test button."""
        deliveries: list[Delivery] = (await self._post("/console-test", {"format": sending}))["deliveries"]
        return deliveries

    async def _deliveries(self, imp_uid: str) -> list[Delivery]:
        path = f"/_control/webhooks?{urlencode({'imp_uid': imp_uid})}"
        deliveries: list[Delivery] = (await self.server.call("GET", path))["deliveries"]
        return deliveries

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self.server.call("POST", f"/_control{path}", body)


def payment_line(payment: SandboxPayment) -> str:
    """Return a payment as one line."""
    currency, status = payment["currency"], payment["status"]
    awaits = status == "ready" and payment["vbank_num"]
    parts = [payment["imp_uid"], payment["merchant_uid"], "ready, account issued" if awaits else status]
    parts += [_money(payment["amount"], currency), payment["pay_method"]]
    if payment["cancel_amount"]:
        parts.append(f"refunded so far: {_money(payment['cancel_amount'], currency)}")
    if payment["tier"]:
        parts.append(f"tier {payment['tier']}")
    if payment["test"]:
        parts.append("test channel")
    return "  ".join(str(part) for part in parts)


def _money(amount: float, currency: str) -> str:
    """Return an amount as a person writes it: PortOne's 6.0 of USD is 6.00 USD."""
    try:
        return money(to_minor(Decimal(str(amount)), currency), currency)
    except InexactAmount:
        return f"{amount} {currency}"


def delivery_line(delivery: Delivery) -> str:
    """Return the delivery of a webhook as one line."""
    webhook = f"webhook ({delivery['format']}, {delivery['body']['status']})"
    match delivery["outcome"]:
        case "delivered":
            return f"{webhook} to {delivery['url']}: answered {delivery['answer_status']}"
        case "no_url":
            return f"{webhook} not sent: the sandbox was started without --webhook-url"
        case "dropped":
            return f"{webhook} dropped by a fault switch"
        case _:
            return f"{webhook} to {delivery['url']}: failed ({delivery['error']})"
