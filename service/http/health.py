"""`/healthz`: this process lives. `/readyz`: it can accept, which is all that routing should ask (DESIGN.md §3)."""

import asyncio

from aiohttp import web

from service.db.pool import AWAY, in_transaction
from service.errors import QueueUnavailable, StoreUnavailable
from service.http.problems import json_response
from service.http.receiver import RECEIVER, Receiver

_PROBE_SECONDS = 2.0


async def healthz(request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """503 only when neither store can keep a notice."""
    receiver = request.app[RECEIVER]
    postgres, redis = await asyncio.gather(_postgres_answers(receiver), _redis_keeps(receiver))
    return json_response(
        {"postgres": "ok" if postgres else "away", "redis": "durable" if redis else "away or not durable"},
        status=200 if postgres or redis else 503,
    )


async def _postgres_answers(receiver: Receiver) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            return await in_transaction(receiver.pool, lambda db: db.fetchval("SELECT true FROM schema_migrations"))
    except (StoreUnavailable, *AWAY):
        return False


async def _redis_keeps(receiver: Receiver) -> bool:
    try:
        return await receiver.queue.is_durable()
    except QueueUnavailable:
        return False
