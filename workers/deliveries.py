"""The worker's outgoing webhooks: a loop beside arq's tasks, with connections of its own to everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import structlog
from arq.connections import ArqRedis

from service.db.pool import open_pool
from service.errors import PostgresUnavailable
from service.outgoing.sender import Sender
from service.redis.queue import LOOKED_CHANNEL, connect, messages
from service.settings import Settings
from service.tracing import Tracing
from service.usecases.delivering import Deliverer
from service.usecases.endpoint_turn import DeliveryBounds
from workers.metrics import WorkerMetrics

log = structlog.get_logger()

# What no message announces is found this late, and so is the first endpoint.
_LOOK_SECONDS = 1.0
# Changes that come together share a look, and a look comes again this soon while a change is not committed yet.
_GATHER_SECONDS = 0.01
_WRITING_CONNECTIONS = 3


@asynccontextmanager
async def delivering(settings: Settings, metrics: WorkerMetrics, tracing: Tracing | None = None) -> AsyncIterator[None]:
    """Send outgoing webhooks for as long as the context lasts."""
    url = settings.direct_url
    reading, writing = await open_pool(url, size=1), await open_pool(url, size=_WRITING_CONNECTIONS)
    redis = connect(settings.redis_url.get_secret_value())
    sender = Sender(settings.endpoint_timeout_seconds, private=settings.endpoints_in_private_networks)
    metrics.deliveries = sender.durations
    metrics.watch_pool("deliveries", writing)
    metrics.watch_pool("deliveries_feed", reading)
    times = settings.times
    timeout = timedelta(seconds=settings.endpoint_timeout_seconds)
    bounds = DeliveryBounds(times.deliveries, timeout, settings.endpoint_deliveries_at_once)
    deliverer = Deliverer(reading, writing, sender, times, bounds, tracing)
    running = [asyncio.create_task(_run(deliverer)), asyncio.create_task(_listen(redis, deliverer.woken))]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await deliverer.close()
        await sender.close()
        await redis.aclose(close_connection_pool=True)
        await reading.close()
        await writing.close()


async def _run(deliverer: Deliverer) -> None:
    """Take turns until cancelled. A Postgres that is away is waited for; others say so in the log."""
    while True:
        is_soon = False
        try:
            while not await deliverer.has_endpoints():  # noqa: ASYNC110 - a person adds one elsewhere
                await asyncio.sleep(_LOOK_SECONDS)
            deliverer.woken.clear()
            is_soon = await deliverer.take_turns()
        except PostgresUnavailable:
            pass
        except Exception:
            log.exception("endpoint.turns_failed")
        await asyncio.sleep(_GATHER_SECONDS)
        if not is_soon:
            await _wait(deliverer.woken)


async def _wait(woken: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await woken.wait()
    except TimeoutError:
        pass


async def _listen(redis: ArqRedis, woken: asyncio.Event) -> None:
    """Wake the loop whenever orders have changed, or messages may have been missed."""
    async for message in messages(redis, LOOKED_CHANNEL):
        if message is None or orjson.loads(message)[1]:
            woken.set()
