"""The metrics of one process on a port of their own: a receiver's and a worker's are scraped in the same way.

Nothing is asked for there, because it listens on loopback unless METRICS_HOST says otherwise.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from service.settings import Settings

log = structlog.get_logger()

_PATH = "/metrics"
_STOP_SECONDS = 1.0

MakePage = Callable[[], Awaitable[bytes]]


def page_response(page: bytes) -> web.Response:
    """Return the answer that carries a page of metrics."""
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})


@contextlib.asynccontextmanager
async def serving_metrics(settings: Settings, make_page: MakePage) -> AsyncIterator[None]:
    """Serve the metrics for as long as the context lasts, if METRICS_PORT is set.

    A port that is taken keeps no payment from being verified: it is an error in the log, and a target that is down.
    """

    async def answer(request: web.Request) -> web.Response:
        return page_response(await make_page())

    if not settings.metrics_port:
        yield
        return
    app = web.Application()
    app.router.add_get(_PATH, answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await _listen(runner, settings)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    host, port = settings.metrics_host, settings.metrics_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        reason = error.strerror
        log.error("metrics.not_served", host=host, port=port, reason=reason, advice="correct METRICS_PORT")  # noqa: TRY400
    else:
        log.info("metrics.served", host=host, port=port)
