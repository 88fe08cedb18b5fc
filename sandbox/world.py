"""The parts of one sandbox, and the payments as readers see them under the fault switches."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from sandbox.addresses import AddressPolicy
from sandbox.browser.windows import Window, WindowDesk
from sandbox.calls import Calls
from sandbox.config import DEFAULT_ACCOUNT, SandboxConfig
from sandbox.errors import BadInput, UnknownPayment
from sandbox.faults import FaultDesk
from sandbox.inputs import Body
from sandbox.journal import Evidence, Journal
from sandbox.journal_entries import record_change, record_delivery, record_last_change, record_window
from sandbox.ledger import Clock, Ledger
from sandbox.payment import Fields, Owner, Payment, Seen
from sandbox.tokens import TokenDesks
from sandbox.webhooks import WebhookSender


@dataclass(slots=True)
class World:
    """PortOne with its accounts: payments, tokens, webhooks, windows and fault switches."""

    config: SandboxConfig
    clock: Clock
    ledger: Ledger
    tokens: TokenDesks
    faults: FaultDesk
    sender: WebhookSender
    calls: Calls
    addresses: AddressPolicy
    windows: WindowDesk
    journal: Journal

    def look(self, asker: Owner, imp_uid: str) -> tuple[Payment, Seen] | None:
        """Return one payment as this caller sees it, or None."""
        try:
            payment = self.ledger.payment(imp_uid)
        except UnknownPayment:
            return None
        seen = self._seen(asker, payment)
        return (payment, seen) if seen is not None else None

    def attempts(self, asker: Owner, merchant_uid: str) -> list[Seen]:
        """Return an order's payments as this caller sees them, first opened first."""
        return self._all_seen(asker, self.ledger.attempts(merchant_uid))

    def everything(self, asker: Owner) -> list[Seen]:
        """Return all payments as this caller sees them, first opened first."""
        return self._all_seen(asker, self.ledger.payments())

    def read_account(self, body: Body) -> str:
        """Return the account that a control request names, or the default account."""
        account = body.optional_text("account", 40) or DEFAULT_ACCOUNT
        if account not in self.tokens.of_account:
            raise BadInput(f"account must be one of {', '.join(self.tokens.of_account)}.")
        return account

    def watch_order(self, merchant_uid: str) -> None:
        """Record in the journal what happens to this order, with what has happened to its payments so far."""
        if self.journal.watches(merchant_uid):
            return
        self.journal.watch(merchant_uid)
        for payment in self.ledger.attempts(merchant_uid):
            fields: Fields = {}
            for change in payment.changes:
                fields |= change.fields
                record_change(self.journal, payment.merchant_uid, fields, change)

    def hear_window(self, window: Window, what: str, evidence: Evidence) -> None:
        """Record what happens to a payment's window, and watch the order of each that opens."""
        if window.payment is not None:
            self.watch_order(window.merchant_uid)
            record_window(self.journal, window, what, evidence)

    def reset(self) -> None:
        """Forget everything since the start, but not the address for webhooks."""
        self.ledger.clear()
        self.tokens.reset()
        self.faults.clear()
        self.sender.forget()
        self.calls.clear()
        self.windows.clear()
        self.journal.clear()

    def _all_seen(self, asker: Owner, payments: Iterable[Payment]) -> list[Seen]:
        return [seen for payment in payments if (seen := self._seen(asker, payment))]

    def _seen(self, asker: Owner, payment: Payment) -> Seen | None:
        """Return the payment if it is the asker's: of its account, and of its tier or, without one, of no tier."""
        faults = self.faults.now
        if payment.owner != asker or faults.hides(payment.imp_uid):
            return None
        if faults.stale_seconds:
            return payment.seen_as_of(self.clock() - faults.stale_seconds)
        return payment.seen()


WORLD = web.AppKey("world", World)


def create_world(config: SandboxConfig, clock: Clock = time.time) -> World:
    """Return a sandbox in which nothing has happened yet."""
    desk, journal = FaultDesk(), Journal(clock)
    world = World(
        config,
        clock,
        Ledger(clock, partial(record_last_change, journal)),
        TokenDesks(config.keys, clock),
        desk,
        WebhookSender(config.webhook_url, desk, partial(record_delivery, journal, clock)),
        Calls(),
        AddressPolicy(config.allowed_hosts, config.webhook_url),
        WindowDesk(),
        journal,
    )
    world.windows.listeners.append(world.hear_window)
    return world
