"""The buyers of `demo`: each brings one order to an end, as well or as badly as buyers, browsers and webhooks do.

A buyer is a function of a visit. Those of FAILURES are what goes wrong in a shop; the others pay.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from cli.calls import CallRefused, Server
from cli.sandbox_calls import Control, Encoding, Webhook

_AMOUNTS = (9_900, 19_900, 34_500, 64_900, 129_000)
_NEVER = Webhook(Encoding.NEVER)
# A buyer looks at the window, or goes to the bank's app, for about as long.
_THINKS_SECONDS = 1.0


@dataclass(frozen=True)
class BuyerVisit:
    """A buyer's visit for one order: the service where it is registered, and the sandbox where it is paid."""

    service: Server
    control: Control
    merchant_uid: str
    amount: int

    @classmethod
    def new(cls, service: Server, control: Control, prefix: str) -> "BuyerVisit":
        """Return a visit for a new order of a usual price."""
        return cls(service, control, f"{prefix}{secrets.token_hex(4)}", secrets.choice(_AMOUNTS))

    async def register(self) -> None:
        await self.service.call("POST", "/orders", {"merchant_uid": self.merchant_uid, "amount": self.amount})

    async def open(self, **terms: object) -> str:
        """Open a payment window of the right amount and think about it. Returns its imp_uid."""
        payment = await self.control.open(self.merchant_uid, str(self.amount), **terms)
        await asyncio.sleep(_THINKS_SECONDS)
        return str(payment["imp_uid"])

    async def pay(self, webhook: Webhook = Webhook()) -> str:  # noqa: B008 - it is frozen
        imp_uid = await self.open()
        await self.control.move(imp_uid, "pay", webhook)
        return imp_uid

    async def complete(self, imp_uid: str) -> None:
        """Make the call of the buyer's browser, which may be refused."""
        browser = replace(self.service, headers={"Prefer": "wait=1"})
        try:
            await browser.call("POST", "/payment/complete", {"imp_uid": imp_uid, "merchant_uid": self.merchant_uid})
        except CallRefused as refused:
            if refused.status >= 500:
                raise


Buyer = Callable[[BuyerVisit], Awaitable[None]]


async def pays_by_card(visit: BuyerVisit) -> None:
    """Pay, as most do: the webhook and the browser both say so."""
    await visit.register()
    await visit.complete(await visit.pay())


async def pays_and_leaves(visit: BuyerVisit) -> None:
    """Pay, and close the browser at once: only the webhook says so."""
    await visit.register()
    await visit.pay()


async def pays_by_deposit(visit: BuyerVisit) -> None:
    """Take a virtual account, and pay into it later."""
    await visit.register()
    imp_uid = await visit.open(pay_method="vbank")
    await visit.control.move(imp_uid, "issue")
    await asyncio.sleep(3 * _THINKS_SECONDS)
    await visit.control.move(imp_uid, "deposit")


async def changes_their_mind(visit: BuyerVisit) -> None:
    """Pay, and get a part of the money back."""
    await visit.register()
    imp_uid = await visit.pay()
    await asyncio.sleep(_THINKS_SECONDS)
    await visit.control.move(imp_uid, "cancel", amount=str(visit.amount // 3), reason="One was torn")


async def leaves_the_window(visit: BuyerVisit) -> None:
    """Open the window, and never pay."""
    await visit.register()
    await visit.open()


async def is_declined(visit: BuyerVisit) -> None:
    """Have the card declined, and pay with another."""
    await visit.register()
    imp_uid = await visit.open()
    await visit.control.move(imp_uid, "fail", reason="Not enough money")
    await visit.complete(imp_uid)
    await visit.complete(await visit.pay())


async def pays_another_amount(visit: BuyerVisit) -> None:
    """Pay 100 won: the browser was tampered with."""
    await visit.register()
    payment = await visit.control.open(visit.merchant_uid, "100")
    await visit.control.move(payment["imp_uid"], "pay")


async def pays_twice(visit: BuyerVisit) -> None:
    """Pay in two windows."""
    await visit.register()
    windows = [await visit.open() for _ in range(2)]
    for imp_uid in windows:
        await visit.control.move(imp_uid, "pay")


async def invents_a_payment(visit: BuyerVisit) -> None:
    """Say that a payment was made which PortOne does not know."""
    await visit.register()
    await visit.complete(f"imp_{secrets.token_hex(6)}")


async def loses_the_webhook(visit: BuyerVisit) -> None:
    """Pay, and neither webhook nor browser says so: the ledger scan finds it within a minute or two."""
    await visit.register()
    await visit.pay(_NEVER)


async def gets_five_webhooks(visit: BuyerVisit) -> None:
    """Pay, and PortOne says so five times at once."""
    await visit.register()
    await visit.pay(Webhook(Encoding.BOTH, times=5))


async def pays_too_early(visit: BuyerVisit) -> None:
    """Pay before the shop has registered the order."""
    await visit.pay()
    await visit.register()


# How many of a hundred; the others pay by card.
USUAL: Mapping[Buyer, int] = {pays_by_card: 60, pays_and_leaves: 25, pays_by_deposit: 10, changes_their_mind: 5}
FAILURES: Mapping[Buyer, int] = {
    leaves_the_window: 25,
    is_declined: 20,
    pays_another_amount: 5,
    pays_twice: 5,
    invents_a_payment: 15,
    loses_the_webhook: 10,
    gets_five_webhooks: 10,
    pays_too_early: 10,
}


def choose(failures: float, rng: Random) -> Buyer:
    """Return the next buyer: with this share of all, something goes wrong."""
    kinds = FAILURES if rng.random() < failures else USUAL
    [buyer] = rng.choices(list(kinds), weights=list(kinds.values()))
    return buyer
