"""The sandbox as an aiohttp application."""

import time
from collections.abc import AsyncIterator

from aiohttp import web

from sandbox import control, state_file, v1
from sandbox.answers import POLICY, guard_our_own
from sandbox.browser.app import ROUTES as BROWSER_ROUTES
from sandbox.config import SandboxConfig
from sandbox.envelope import envelope_errors
from sandbox.fault_middleware import inject_faults
from sandbox.ledger import Clock
from sandbox.shop.app import add_shop
from sandbox.world import WORLD, create_world


def create_app(config: SandboxConfig, clock: Clock = time.time) -> web.Application:
    """Return a sandbox with the payments of its state file. Raises state_file.StateFileProblem."""
    # Outermost first: every call is counted, also one that a fault then answers.
    middlewares = [v1.count_calls, inject_faults, envelope_errors, v1.require_token, guard_our_own]
    app = web.Application(middlewares=middlewares)
    app[WORLD] = create_world(config, clock)
    app[POLICY] = app[WORLD].addresses
    if config.state_file is not None:
        state_file.load(app[WORLD].ledger, config.state_file)
    app.router.add_get("/healthz", _healthz)
    app.add_routes(BROWSER_ROUTES)  # before V1's, whose /payments/{imp_uid} would take /payments/fail
    app.add_routes(v1.ROUTES)
    app.add_routes(control.ROUTES)
    add_shop(app)
    app.cleanup_ctx.extend([state_file.keep_saved, _send_webhooks])
    app.on_shutdown.append(_release_hung_calls)
    return app


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _send_webhooks(app: web.Application) -> AsyncIterator[None]:
    await app[WORLD].sender.start()
    yield
    await app[WORLD].sender.stop()


async def _release_hung_calls(app: web.Application) -> None:
    app[WORLD].faults.release()
