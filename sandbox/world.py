"""Everything one sandbox is made of, and what readers see of it under the fault switches."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from sandbox.calls import Calls
from sandbox.config import SandboxConfig
from sandbox.errors import UnknownPayment
from sandbox.faults import FaultDesk
from sandbox.ledger import Clock, Ledger
from sandbox.payment import Payment, Seen
from sandbox.tokens import TokenDesk
from sandbox.webhooks import WebhookSender


@dataclass(slots=True)
class World:
    """One PortOne account: its payments, its token, its webhooks, and its troubles."""

    config: SandboxConfig
    clock: Clock
    ledger: Ledger
    tokens: TokenDesk
    faults: FaultDesk
    sender: WebhookSender
    calls: Calls

    def look(self, tier: str | None, imp_uid: str) -> tuple[Payment, Seen] | None:
        """One payment as a caller under this tier sees it, or None."""
        try:
            payment = self.ledger.payment(imp_uid)
        except UnknownPayment:
            return None
        seen = self._seen(tier, payment)
        return (payment, seen) if seen is not None else None

    def attempts(self, tier: str | None, merchant_uid: str) -> list[Seen]:
        """An order's payments as seen under this tier, first opened first."""
        return self._all_seen(tier, self.ledger.attempts(merchant_uid))

    def everything(self, tier: str | None) -> list[Seen]:
        """All payments as seen under this tier, first opened first."""
        return self._all_seen(tier, self.ledger.payments())

    def reset(self) -> None:
        """Forget all that happened since the start; where webhooks go stays."""
        self.ledger.clear()
        self.tokens.reset(self.config.imp_secret)
        self.faults.clear()
        self.sender.forget()
        self.calls.clear()

    def _all_seen(self, tier: str | None, payments: Iterable[Payment]) -> list[Seen]:
        return [seen for payment in payments if (seen := self._seen(tier, payment))]

    def _seen(self, tier: str | None, payment: Payment) -> Seen | None:
        """A tier's payments are visible with that tier alone, those without one only without a tier."""
        faults = self.faults.now
        if payment.tier != tier or faults.hides(payment.imp_uid):
            return None
        if faults.stale_seconds:
            return payment.seen_as_of(self.clock() - faults.stale_seconds)
        return payment.seen()


WORLD = web.AppKey("world", World)


def create_world(config: SandboxConfig, clock: Clock = time.time) -> World:
    """A sandbox in which nothing has happened yet."""
    desk = FaultDesk()
    return World(
        config,
        clock,
        Ledger(clock),
        TokenDesk(config.imp_key, config.imp_secret, clock),
        desk,
        WebhookSender(config.webhook_url, desk),
        Calls(),
    )
