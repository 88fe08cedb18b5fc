"""The receiver as an aiohttp application: its routes, and the parts that live as long as it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from service.domain.service_key import Scope
from service.http import (
    checkout,
    completions,
    confirmations,
    events,
    health,
    openapi,
    order_batches,
    order_lists,
    order_rechecks,
    orders,
    returns,
    webhooks,
)
from service.http.assembly import open_receiver
from service.http.bodies import BODY_MAX_BYTES
from service.http.connection import HttpConnection
from service.http.connections import Bounds
from service.http.console.routes import add_console
from service.http.endpoints import Endpoint
from service.http.keys import with_key
from service.http.listening import Listener
from service.http.metrics_port import serving_metrics
from service.http.problems import answer_problems
from service.http.receiver import RECEIVER
from service.http.runner import BoundedRunner
from service.http.short_way import shortened
from service.redis.durability import say_weaknesses
from service.redis.queue import Queue, connect
from service.redis.shared_limits import SharedLimits
from service.redis.waiters import Waiters
from service.settings import Settings
from service.tracing import open_tracing
from service.usecases.heartbeat import beating

# In the document's order.
ENDPOINTS = (
    *orders.endpoints,
    *order_batches.endpoints,
    *order_lists.endpoints,
    *order_rechecks.endpoints,
    *events.endpoints,
    *webhooks.endpoints,
    *confirmations.endpoints,
    *completions.endpoints,
    *checkout.endpoints,
    *returns.endpoints,
    *health.endpoints,
    *openapi.endpoints,
)


def create_app(settings: Settings) -> web.Application:
    """Build the receiver. It starts without its databases, and uses each as soon as it is there."""
    settings.require("database_url", "redis_url")
    app = web.Application(middlewares=[answer_problems], client_max_size=BODY_MAX_BYTES)
    app.cleanup_ctx.append(lambda app: _parts(app, settings))
    app.on_shutdown.append(_answer_waiting)
    app.add_routes([_route(endpoint) for endpoint in ENDPOINTS])
    add_console(app)
    app[openapi.DOCUMENT] = openapi.Document(ENDPOINTS)
    return app


def _route(endpoint: Endpoint) -> web.RouteDef:
    """Return the endpoint's route. One that declares a scope asks for a service key before anything else."""
    handler = with_key(endpoint.handler, Scope(endpoint.scope)) if endpoint.scope else endpoint.handler
    return web.route(endpoint.method, endpoint.pattern, handler)


async def _answer_waiting(app: web.Application) -> None:
    """Answer calls that wait for a change, and end streams, before the server waits for the calls under way."""
    receiver = app[RECEIVER]
    receiver.feed.stop()
    receiver.change_waiters.close()
    receiver.checkout.stop()


async def set_up(settings: Settings, shutdown_seconds: float, leave_seconds: float = 0.0) -> BoundedRunner:
    """Make a runner that is ready to listen. Webhooks go the short way.

    At its end it answers for `leave_seconds` what comes on open connections, and then gives the calls under way
    `shutdown_seconds`.
    """
    app = create_app(settings)
    runner = BoundedRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    receiver, server = app[RECEIVER], runner.server
    if server is not None:
        server.request_handler = shortened(
            webhooks.ADDRESS, partial(webhooks.receive, receiver), receiver, server.request_handler
        )
        make_connection = partial(
            HttpConnection,
            server,
            receiver.connections,
            partial(returns.answer_failure, settings.return_url),
            asyncio.get_running_loop(),
        )
        runner.listener = Listener(make_connection)
        runner.connections, runner.leave_seconds = receiver.connections, leave_seconds
    return runner


async def _parts(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    redis = connect(settings.redis_url.get_secret_value())
    bounds = Bounds.of_process()
    waiters = Waiters(redis, bounds.in_all // 2)
    async with contextlib.AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_tracing("receiver", settings))
        queue = Queue(redis, int(settings.spill_megabytes * 1_000_000))
        receiver = app[RECEIVER] = await open_receiver(stack, settings, queue, waiters, bounds, tracing)
        limits = SharedLimits(
            redis, {"completions": receiver.limits.completions, "checkout": receiver.limits.checkouts}
        )
        working = [
            asyncio.create_task(work)
            for work in (
                waiters.listen(),
                receiver.feed.watch(),
                receiver.connections.watch(),
                receiver.confirmation.keep_connections(),
                receiver.service_keys.keep_current(),
                limits.run(),
                say_weaknesses(redis),
            )
        ]
        metrics = serving_metrics(settings, partial(health.metrics_page, receiver))
        async with beating("receiver", settings, beats=receiver.beats), metrics:
            yield
        for task in working[:-1]:  # the last ends by itself
            task.cancel()
        await asyncio.wait(working)
        receiver.connections.log_events()
