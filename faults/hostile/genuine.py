"""Genuine orders beside an attack: PortOne announces their payments and asks for confirmation, at a steady rate."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from bench import load
from faults.hostile.town import FROM_PORTONE, Town

AMOUNT = 1000
PAYMENTS_A_SECOND = 4
CONFIRMATIONS_A_SECOND = 10

_ORDERS = """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state)
    SELECT $1 || '-' || n, $2, 'KRW', now() + interval '30 days', 'pending'
    FROM generate_series(0, $3::integer - 1) AS n
"""
_EVENTS = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    SELECT merchant_uid, 1, state, amount, currency, 0, 0, '[]', 'registration'
    FROM orders WHERE merchant_uid LIKE $1 || '-%'
"""
_PAID_AT = """
    SELECT merchant_uid, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
    FROM order_events WHERE merchant_uid = ANY($1::text[]) AND state = 'paid'
"""


@dataclass
class Figures:
    """The view of genuine callers: seconds from a webhook to its order's `paid`, and PortOne's confirmations."""

    during: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    never: int = 0
    webhooks: Counter[int] = field(default_factory=Counter)
    confirmations: Counter[int] = field(default_factory=Counter)
    confirm_seconds: list[float] = field(default_factory=list)


async def register(db: asyncpg.Connection, prefix: str, count: int) -> list[str]:
    """Register orders `prefix-0`, `prefix-1` …, about which no turn of reconciliation asks."""
    await db.execute(_ORDERS, prefix, AMOUNT, count)
    await db.execute(_EVENTS, prefix)
    return [f"{prefix}-{number}" for number in range(count)]


class Genuine:
    """The genuine callers of one attack. `prepare` makes their orders and payments, `run` announces them."""

    def __init__(self, town: Town, name: str, seconds: float, after_seconds: float) -> None:
        self.town, self.name, self.seconds, self.after_seconds = town, name, seconds, after_seconds
        self.orders: list[str] = []
        self.imp_uids: list[str] = []

    async def prepare(self) -> None:
        """Register the orders and pay for them at PortOne, which announces nothing yet."""
        count = int(PAYMENTS_A_SECOND * (self.seconds + self.after_seconds))
        self.orders = await register(self.town.db, f"g-{self.name}", count)
        paid = await self.town.portone("POST", "bulk", count=count, prefix=f"g-{self.name}", amount=AMOUNT)
        self.imp_uids = paid["imp_uids"]
        self._asked = await register(self.town.db, f"c-{self.name}", int(CONFIRMATIONS_A_SECOND * self.seconds))

    async def run(self) -> Figures:
        """Announce every payment and ask for confirmations. Returns once all was answered."""
        webhooks = [_webhook(imp_uid, order) for imp_uid, order in zip(self.imp_uids, self.orders, strict=True)]
        questions = [_question(order) for order in self._asked]
        self.began_at = time.time()
        announced, confirmed = await asyncio.gather(
            load.open_loop(self.town.port, PAYMENTS_A_SECOND, webhooks),
            load.open_loop(self.town.port, CONFIRMATIONS_A_SECOND, questions),
        )
        self._sent_at = announced.sent_at
        return Figures(
            webhooks=announced.statuses, confirmations=confirmed.statuses, confirm_seconds=sorted(confirmed.latencies)
        )

    async def measure(self, figures: Figures, wait_seconds: float) -> None:
        """Read when each order was paid, after waiting for the last ones."""
        for _ in range(int(wait_seconds * 5)):
            paid_at = await self.paid_at()
            if len(paid_at) == len(self.orders):
                break
            await asyncio.sleep(0.2)
        for order, sent_at in zip(self.orders, self._sent_at, strict=True):
            if order not in paid_at:
                figures.never += 1
                continue
            is_after = sent_at > self.began_at + self.seconds
            # A stranger who announces it earlier has it paid earlier.
            seconds = max(0.0, paid_at[order] - sent_at)
            (figures.after if is_after else figures.during).append(seconds)

    async def paid_at(self) -> dict[str, float]:
        rows: Sequence[Any] = await self.town.db.fetch(_PAID_AT, self.orders)
        return {row["merchant_uid"]: row["at"] for row in rows}


def _webhook(imp_uid: str, merchant_uid: str) -> bytes:
    body = f'{{"imp_uid":"{imp_uid}","merchant_uid":"{merchant_uid}","status":"paid"}}'
    return load.post("/webhooks/portone/v1", body.encode(), FROM_PORTONE)


def _question(merchant_uid: str) -> bytes:
    body = f'{{"imp_uid":"imp_asks","merchant_uid":"{merchant_uid}","amount":{AMOUNT}}}'
    return load.post("/payments/confirm", body.encode(), FROM_PORTONE)
