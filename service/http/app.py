"""The receiver as an aiohttp application: its routes, and the parts that live as long as it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import cast

from aiohttp import web

from service.db.pool import Pool, open_pool
from service.http import completions, confirmations, health, openapi, orders, returns, webhooks
from service.http.bodies import BODY_MAX_BYTES
from service.http.client_address import ClientAddresses
from service.http.connection import HttpConnection
from service.http.connections import Bounds, Connections
from service.http.problems import answer_problems
from service.http.receiver import RECEIVER, Receiver
from service.http.short_way import shortened
from service.logs import Lines
from service.metrics import Metrics
from service.rate_limits import Limiter
from service.redis.queue import Queue, connect, say_weaknesses
from service.redis.waiters import Waiters
from service.settings import Settings
from service.shop.stock import StockHook
from service.usecases.closing import Withdrawals
from service.usecases.completion import Completion
from service.usecases.confirmation import CONNECTIONS, Confirmation
from service.usecases.heartbeat import beating
from service.usecases.intake import Intake
from service.usecases.readiness import Readiness
from service.usecases.recording import Recorder
from service.usecases.search_requests import SearchRequests

# Connections to Postgres for everything but intake, confirmations and readiness, which have their own.
_CONNECTIONS = 10
# `confirm_url` questions about one order from one address: PortOne asks once for each attempt.
_QUESTIONS_PER_SECOND = 10.0


def create_app(settings: Settings) -> web.Application:
    """Build the receiver. It starts without its databases, and uses each as soon as it is there."""
    settings.require("database_url", "redis_url")
    app = web.Application(middlewares=[answer_problems], client_max_size=BODY_MAX_BYTES)
    app.cleanup_ctx.append(lambda app: _parts(app, settings))
    # `[^/]+`, because aiohttp's own default refuses braces, which a merchant_uid may have.
    app.add_routes(
        [
            web.post(webhooks.ADDRESS, webhooks.receive_webhook),
            web.post(f"{webhooks.ADDRESS}/{{tier}}", webhooks.receive_webhook),
            web.post(f"{webhooks.ADDRESS}/accounts/{{account}}", webhooks.receive_webhook),
            web.post(f"{webhooks.ADDRESS}/accounts/{{account}}/{{tier}}", webhooks.receive_webhook),
            web.post("/payment/complete", completions.complete),
            web.options("/payment/complete", completions.answer_preflight),
            web.get(returns.RETURNS, returns.redirect),
            web.post("/payments/confirm", confirmations.confirm),
            web.post("/orders", orders.register_order),
            web.get("/orders/{merchant_uid:[^/]+}", orders.read_order),
            web.patch("/orders/{merchant_uid:[^/]+}", orders.amend_order),
            web.post("/orders/{merchant_uid:[^/]+}/withdraw", orders.withdraw_order),
            web.post("/orders/{merchant_uid:[^/]+}/accept", orders.accept_payment),
            web.get("/healthz", health.healthz),
            web.get("/healthz/promise", health.promise),
            web.get("/readyz", health.readyz),
            web.get("/metrics", health.metrics),
            web.get("/openapi.yaml", openapi.serve_document),
        ]
    )
    return app


class BoundedRunner(web.AppRunner):
    """A runner whose server makes connections of ours."""

    make_connection: Callable[[], HttpConnection] | None = None

    @property
    def server(self) -> web.Server | None:
        """Return what `web.TCPSite` listens with: all that it does is to call it."""
        return cast("web.Server", self.make_connection) if self.make_connection else super().server


async def set_up(settings: Settings, shutdown_seconds: float) -> web.AppRunner:
    """Make a runner that is ready to listen: `web.TCPSite(runner, …).start()`. Webhooks go the short way."""
    app = create_app(settings)
    runner = BoundedRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
    await runner.setup()
    receiver, server = app[RECEIVER], runner.server
    if server is not None:
        server.request_handler = shortened(
            webhooks.ADDRESS, partial(webhooks.receive, receiver), receiver, server.request_handler
        )
        runner.make_connection = partial(
            HttpConnection,
            server,
            receiver.connections,
            partial(returns.answer_failure, settings.return_url),
            asyncio.get_running_loop(),
        )
    return runner


async def _parts(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    redis = connect(settings.redis_url.get_secret_value())
    bounds = Bounds.of_process()
    waiters = Waiters(redis, bounds.in_all // 2)
    async with contextlib.AsyncExitStack() as stack:
        receiver = app[RECEIVER] = await _receiver(
            stack, settings, Queue(redis, int(settings.spill_megabytes * 1_000_000)), waiters, bounds
        )
        working = [
            asyncio.create_task(work)
            for work in (
                waiters.listen(),
                receiver.connections.watch(),
                receiver.confirmation.keep_connections(),
                say_weaknesses(redis),
            )
        ]
        async with beating("receiver", settings):
            yield
        for task in working[:-1]:  # the last ends by itself
            task.cancel()
        await asyncio.wait(working)
        receiver.connections.log_events()


async def _receiver(
    stack: contextlib.AsyncExitStack, settings: Settings, queue: Queue, waiters: Waiters, bounds: Bounds
) -> Receiver:
    """Make the parts, each closed before those that it uses."""

    async def open_one(size: int) -> Pool:
        pool = await open_pool(settings.database_url.get_secret_value(), size)
        stack.push_async_callback(pool.close)
        return pool

    times, metrics = settings.times, Metrics()
    clients = ClientAddresses(settings.trusted_proxies)
    stack.push_async_callback(queue.close)
    pool = await open_one(_CONNECTIONS)
    # Intake writes one batch at a time, on a connection of its own, so that no crowd of readers keeps it waiting.
    intake = Intake(Recorder(await open_one(1), queue, times), metrics)
    searches = SearchRequests(pool, queue, times.spacing)
    readiness = Readiness(await open_one(1), queue)
    stock = StockHook(settings.stock_hook_url, settings.stock_hook_per_second) if settings.stock_hook_url else None
    confirmation = Confirmation(
        await open_one(CONNECTIONS), stock, allow_when_unsure=settings.confirm_when_unsure == "allow"
    )
    if stock:
        stack.push_async_callback(stock.close)
    for close in (readiness.close, searches.close, intake.close):
        stack.push_async_callback(close)
    return Receiver(
        settings=settings,
        times=times,
        pool=pool,
        queue=queue,
        intake=intake,
        metrics=metrics,
        lines=Lines(),
        completion=Completion(pool, intake, searches, waiters, settings.allow_test_channel),
        confirmation=confirmation,
        withdrawals=Withdrawals(pool, searches, waiters, settings.allow_test_channel, times.deposit_grace),
        readiness=readiness,
        webhook_limits=Limiter(settings.webhooks_per_client, settings.webhooks_per_second),
        completion_limits=Limiter(settings.completions_per_client),
        shed_limits=Limiter(settings.completions_per_second),
        confirmation_limits=Limiter(settings.confirmations_per_client),
        question_limits=Limiter(_QUESTIONS_PER_SECOND),
        clients=clients,
        connections=Connections(bounds, clients, metrics),
    )
