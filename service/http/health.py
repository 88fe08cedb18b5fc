"""The health addresses. `/healthz`: this process lives. `/readyz`: it can accept, for routing (docs/design.md §3).

`/healthz/promise` and `/metrics` measure the promise, for alerts and never for routing; they want a service key.
"""

from dataclasses import asdict

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from service.db.pool import in_transaction
from service.db.promise import measure
from service.errors import PostgresUnavailable
from service.http.keys import require_key
from service.http.problems import json_response
from service.http.receiver import RECEIVER
from service.usecases.promise import broken_promises


async def healthz(request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Answer 503 only when neither database can keep a notice."""
    ready = await request.app[RECEIVER].readiness.check()
    return json_response(
        {"postgres": "ok" if ready.postgres else "away", "redis": "durable" if ready.redis else "away or not durable"},
        status=200 if ready.postgres or ready.redis else 503,
    )


async def promise(request: web.Request) -> web.Response:
    """Measure the promise. Answers 503, with the reasons, beyond the configured limits."""
    require_key(request)
    receiver = request.app[RECEIVER]
    measured = await in_transaction(receiver.pool, measure, receiver.settings.stores, receiver.settings.ours)
    broken = broken_promises(measured, receiver.settings)
    return json_response({"broken": broken, **asdict(measured)}, status=503 if broken else 200)


async def metrics(request: web.Request) -> web.Response:
    require_key(request)
    receiver = request.app[RECEIVER]
    try:
        measured = await in_transaction(receiver.pool, measure, receiver.settings.stores, receiver.settings.ours)
    except PostgresUnavailable:
        measured = None
    return web.Response(body=receiver.metrics.text(measured), headers={"Content-Type": CONTENT_TYPE_LATEST})
