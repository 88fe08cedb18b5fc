"""The health addresses. `/healthz`: this process lives. `/readyz`: it can accept, for routing (docs/design.md §3).

`/healthz/promise` and `/metrics` measure the promise, for alerts and never for routing; they want a service key.
"""

import asyncio
from dataclasses import asdict

import asyncpg
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from service.db.pool import POSTGRES_AWAY, in_transaction
from service.db.promise import measure
from service.errors import PostgresUnavailable, RedisUnavailable
from service.http.keys import require_key
from service.http.problems import json_response
from service.http.receiver import RECEIVER, Receiver
from service.usecases.promise import broken_promises

_PROBE_SECONDS = 2.0


async def healthz(request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Answer 503 only when neither database can keep a notice."""
    receiver = request.app[RECEIVER]
    postgres, redis = await asyncio.gather(_postgres_answers(receiver), _redis_keeps(receiver))
    return json_response(
        {"postgres": "ok" if postgres else "away", "redis": "durable" if redis else "away or not durable"},
        status=200 if postgres or redis else 503,
    )


async def _postgres_answers(receiver: Receiver) -> bool:
    """Whether Postgres keeps notices: one that refuses us, or has not been migrated yet, does not."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            sql = "SELECT EXISTS (SELECT FROM schema_migrations)"
            return bool(await in_transaction(receiver.pool, lambda db: db.fetchval(sql)))
    except (PostgresUnavailable, asyncpg.PostgresError, *POSTGRES_AWAY):
        return False


async def _redis_keeps(receiver: Receiver) -> bool:
    try:
        return await receiver.queue.is_durable()
    except RedisUnavailable:
        return False


async def promise(request: web.Request) -> web.Response:
    """Measure the promise. Answers 503, with the reasons, beyond the configured limits."""
    require_key(request)
    receiver = request.app[RECEIVER]
    measured = await in_transaction(receiver.pool, measure, receiver.settings.stores)
    broken = broken_promises(measured, receiver.settings)
    return json_response({"broken": broken, **asdict(measured)}, status=503 if broken else 200)


async def metrics(request: web.Request) -> web.Response:
    require_key(request)
    receiver = request.app[RECEIVER]
    try:
        measured = await in_transaction(receiver.pool, measure, receiver.settings.stores)
    except PostgresUnavailable:
        measured = None
    return web.Response(body=receiver.metrics.text(measured), headers={"Content-Type": CONTENT_TYPE_LATEST})
