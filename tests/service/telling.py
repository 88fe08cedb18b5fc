"""Order events and endpoints for tests of outgoing webhooks, and a worker's deliverer without the worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from service.db import endpoints
from service.db.pool import Pool, open_pool
from service.domain.signing import secret_of
from service.domain.timetable import Timetable
from service.errors import PostgresUnavailable
from service.outgoing.sender import Sender
from service.usecases.delivering import Deliverer
from service.usecases.endpoint_turn import DeliveryBounds

SECRET = secret_of(b"0123456789abcdef0123456789abcdef")
TIMES = replace(
    Timetable(),
    deliveries=(timedelta(seconds=0.05),) * 40,
    probe_endpoint_first=timedelta(seconds=0.05),
    probe_endpoint_last=timedelta(seconds=0.1),
)


async def write_events(db: Any, changes: Sequence[tuple[str, int]]) -> None:
    """Write these versions of orders, in this order."""
    await db.executemany(
        """
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        VALUES ($1, $2, CASE WHEN $2 = 1 THEN 'pending' ELSE 'failed' END, 1000, 'KRW', 0, 0, '[]', 'amendment')
        """,
        changes,
    )


async def add_endpoint(pool: Pool, url: str, name: str = "warehouse", types: Sequence[str] = ()) -> None:
    async with pool.acquire() as db:
        assert await endpoints.add(db, name, url, types, SECRET, oldest=True)


async def state_of(pool: Pool, name: str = "warehouse") -> endpoints.WebhookEndpoint:
    async with pool.acquire() as db:
        [endpoint] = await endpoints.read(db, [name])
    return endpoint


@contextlib.asynccontextmanager
async def running_deliverer(
    database_url: str, times: Timetable = TIMES, timeout_seconds: float = 2.0, *, private: bool = True
) -> AsyncIterator[Deliverer]:
    """Deliver as a worker does, until the context ends."""
    reading, writing = await open_pool(database_url, size=1), await open_pool(database_url, size=2)
    sender = Sender(timeout_seconds, private=private)
    bounds = DeliveryBounds(times.deliveries, timedelta(seconds=timeout_seconds), 32)
    deliverer = Deliverer(reading, writing, sender, times, bounds)
    running = asyncio.create_task(_run(deliverer))
    try:
        yield deliverer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await deliverer.close()
        await sender.close()
        await reading.close()
        await writing.close()


async def _run(deliverer: Deliverer) -> None:
    while True:
        with contextlib.suppress(PostgresUnavailable):
            await deliverer.take_turns()
        await asyncio.sleep(0.01)
