"""A shop with payments to refund, and the refunder, for the tests of refunds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncpg

from service.db import notices
from service.db.orders import NewOrder
from service.db.pool import Pool, in_transaction
from service.domain.notice import Notice, Source
from service.domain.order import Order
from service.domain.payment import ACCOUNT, Store
from service.domain.refund import Action, Policy
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.portone.client import PortOne
from service.usecases.coalescing import BatchBounds
from service.usecases.refund_intents import Intents
from service.usecases.refunds import Refunder
from service.usecases.registration import Registration
from service.usecases.verification import Verifier
from tests.sandbox_client import RunningSandbox

REFUND_ALL = Policy(Action.REFUND, Action.REFUND, Action.REFUND)
# Only the waits of refunds remain, and tests shift those in Postgres.
TIMES = replace(
    Timetable().scaled(0),
    refund_after=timedelta(minutes=10),
    refund_unknown=timedelta(hours=1),
    refund_window=timedelta(hours=1),
)
CANCEL = "POST /payments/cancel"


def make_refunder(
    verifier: Verifier, portone: PortOne, *, policy: Policy = REFUND_ALL, times: Timetable = TIMES,
    max_per_hour: int = 5, call_seconds: float = 5.0,
) -> Refunder:  # fmt: skip
    accounts = {ACCOUNT: portone}
    verifier = replace(verifier, accounts=accounts, times=times, stores=None)
    intents = Intents(verifier.pool, policy, accounts.keys(), verifier.allow_test_channel, times)
    return Refunder(verifier.pool, verifier, intents, accounts, max_per_hour, times, call_seconds)


@dataclass(frozen=True)
class Shop:
    """Registers orders, has buyers pay them, and announces the payments to the service."""

    pool: Pool
    sandbox: RunningSandbox
    verifier: Verifier

    async def order(self, merchant_uid: str, amount: int = 64900, currency: str = "KRW", tier: str = "") -> None:
        order = Order(merchant_uid, amount, currency, Store(ACCOUNT, tier))
        await Registration(self.pool, Timetable(), BatchBounds(1)).register(NewOrder(order))

    async def announce(self, merchant_uid: str, *imp_uids: str, account: str = ACCOUNT, tier: str = "") -> None:
        """Record notices of these payments, and verify them."""
        batch = [
            Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, tier, account=account)
            for imp_uid in imp_uids
        ]
        rows = await in_transaction(self.pool, notices.record, batch, timedelta())
        await self.verifier.verify(rows)

    async def paid_twice(self, merchant_uid: str, amount: int = 64900, **terms: Any) -> tuple[str, str]:
        """Pay two windows of an order. Returns the payment that pays it, and the duplicate."""
        await self.order(merchant_uid, amount)
        windows = [(await self.sandbox.open(merchant_uid, amount, **terms))["imp_uid"] for _ in range(2)]
        for imp_uid in windows:
            await self.sandbox.move(imp_uid, "pay")
        await self.announce(merchant_uid, *windows)
        [(_, duplicate)] = await self.problems(merchant_uid)
        [first] = set(windows) - {duplicate}
        return first, duplicate

    async def paid_wrongly(self, merchant_uid: str, amount: float = 100, **terms: Any) -> str:
        """Register an order of 64,900 won, and pay it in a wrong way. Returns the payment."""
        await self.order(merchant_uid)
        payment: str = (await self.sandbox.pay(merchant_uid, amount, **terms))["imp_uid"]
        await self.announce(merchant_uid, payment, account=terms.get("account", ACCOUNT), tier=terms.get("tier") or "")
        return payment

    async def problems(self, merchant_uid: str) -> list[tuple[str, str]]:
        rows = await self.pool.fetchval("SELECT problems FROM orders WHERE merchant_uid = $1", merchant_uid)
        return [(problem["kind"], problem["imp_uid"]) for problem in rows]

    async def let_the_finding_age(self, wait: timedelta = timedelta(minutes=10)) -> None:
        """Shift all events and refunds into the past."""
        await self.pool.execute("UPDATE order_events SET at = at - $1::interval", wait)
        await self.pool.execute("UPDATE refunds SET found_at = found_at - $1::interval, due_at = due_at - $1", wait)

    async def let_the_call_age(self, wait: timedelta = timedelta(hours=1)) -> None:
        """Shift the calls to PortOne into the past."""
        await self.pool.execute("UPDATE refunds SET asked_at = asked_at - $1::interval, due_at = due_at - $1", wait)

    async def refund(self, imp_uid: str) -> asyncpg.Record:
        row = await self.pool.fetchrow("SELECT * FROM refunds WHERE imp_uid = $1", imp_uid)
        assert row is not None, f"{imp_uid} has no refund"
        return row

    async def moves(self, imp_uid: str) -> list[str]:
        """Return the refund's states in order."""
        rows = await self.pool.fetch("SELECT state FROM refund_moves WHERE imp_uid = $1 ORDER BY id", imp_uid)
        return [row["state"] for row in rows]

    async def truth(self, imp_uid: str) -> dict[str, Any]:
        """Return the payment as PortOne has it."""
        return await self.sandbox.control("GET", f"payments/{imp_uid}")

    async def cancel_calls(self) -> int:
        calls: int = (await self.sandbox.calls())["by_template"].get(CANCEL, 0)
        return calls

    async def has_been_called(self) -> bool:
        return await self.cancel_calls() > 0


async def refund_counts(shop: Shop, imp_uids: Sequence[str]) -> list[int]:
    """Return how often PortOne has refunded each payment."""
    return [len((await shop.truth(imp_uid))["cancel_history"]) for imp_uid in imp_uids]


async def due(shop: Shop, refunder: Refunder, merchant_uid: str = "order-1", **terms: bool) -> str:
    """Return a duplicate payment whose refund is due."""
    _, duplicate = await shop.paid_twice(merchant_uid, **terms)
    assert await refunder.intents.intend_due() == 1
    await shop.let_the_finding_age()
    return duplicate
