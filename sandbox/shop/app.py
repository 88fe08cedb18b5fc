"""The shop as a part of the sandbox's application: its addresses, and what runs behind them."""

from collections.abc import AsyncIterator

from aiohttp import web

from sandbox.shop import orders, pages, timeline
from sandbox.shop.order_watch import OrderWatch
from sandbox.shop.parts import SHOP, Shop
from sandbox.shop.service import OrderService
from sandbox.world import WORLD

ORDER = "/shop/api/orders/{merchant_uid:[^/]+}"

ROUTES = [
    web.get("/", pages.to_shop),
    web.get("/shop", pages.checkout),
    web.get("/shop/return", pages.order),
    web.get("/shop/static/{name}", pages.FILES.serve),
    web.get("/shop/api/goods", orders.list_goods),
    web.post("/shop/api/orders", orders.register_order),
    web.get(ORDER, orders.read_order),
    web.post(f"{ORDER}/token", orders.renew_token),
    web.post(f"{ORDER}/seen", orders.record_page_event),
    web.get(f"{ORDER}/events", timeline.stream_events),
]


def add_shop(app: web.Application) -> None:
    """Add the shop's addresses, and what they need where the sandbox knows a service."""
    app.add_routes(ROUTES)
    app[timeline.STREAMS] = set()
    app.on_shutdown.append(timeline.end_streams)
    config, journal = app[WORLD].config.shop, app[WORLD].journal
    if config is not None:
        service = OrderService(config)
        app[SHOP] = Shop(service, journal, OrderWatch(journal, service))
        app.cleanup_ctx.append(_keep_open)


async def _keep_open(app: web.Application) -> AsyncIterator[None]:
    shop = app[SHOP]
    await shop.service.open()
    yield
    shop.order_watch.stop()
    await shop.service.close()
