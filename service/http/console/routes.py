"""The addresses of the console. They are pages for people, and no part of the API that `/openapi.json` describes."""

from aiohttp import web

from service.http.console import live, operations, orders, pages, sign_in
from service.http.console.files import FILE_ADDRESS, show_file
from service.http.console.live import PLACES, PLACES_MAX
from service.http.console.visits import HOME, SIGN_IN, visited
from service.usecases.places import Places


def add_console(app: web.Application) -> None:
    """Add the console to the receiver."""
    app[PLACES] = Places(PLACES_MAX)
    app.add_routes(
        [
            web.get(HOME, visited(pages.show_today), allow_head=False),
            web.get(SIGN_IN, visited(sign_in.show_sign_in, signed_in=False), allow_head=False),
            web.post(SIGN_IN, visited(sign_in.sign_in, signed_in=False)),
            web.post("/console/sign-out", visited(sign_in.sign_out, signed_in=False)),
            web.get("/console/orders", visited(orders.show_orders), allow_head=False),
            web.get("/console/order", visited(pages.show_order), allow_head=False),
            web.get("/console/problems", visited(pages.show_problems), allow_head=False),
            web.get("/console/notices", visited(pages.show_notices), allow_head=False),
            web.get("/console/endpoints", visited(pages.show_endpoints), allow_head=False),
            web.get("/console/endpoint", visited(pages.show_endpoint), allow_head=False),
            web.get("/console/actions", visited(pages.show_actions), allow_head=False),
            web.get("/console/confirm", visited(operations.confirm), allow_head=False),
            web.post("/console/confirm", visited(operations.act)),
            web.get("/console/live", visited(live.stream), allow_head=False),
            web.get(FILE_ADDRESS, show_file, allow_head=False),
        ]
    )
