"""The shop's pages, put together from the parts in `static`."""

from pathlib import Path

from aiohttp import web

from sandbox.files import StaticFiles, html
from sandbox.shop.parts import SHOP
from sandbox.world import WORLD

FOLDER = Path(__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
FILES = StaticFiles(FOLDER)

# What the service, or the SDK in a redirect, adds to the address of the return page.
RETURN_KEYS = ("merchant_uid", "state", "reason", "imp_uid", "error_code", "error_msg")
LONGEST_VALUE = 300


async def to_shop(_request: web.Request) -> web.Response:
    """`GET /`: on to the shop."""
    raise web.HTTPSeeOther("/shop")


async def checkout(request: web.Request) -> web.Response:
    """`GET /shop`: choose one of the goods and pay it."""
    return _page(request, "checkout")


async def order(request: web.Request) -> web.Response:
    """`GET /shop/return`: what became of an order. It is the service's RETURN_URL, so a buyer may arrive here."""
    query = request.query
    if "state" in query and query.get("via") != "callback":
        told = {name: query[name][:LONGEST_VALUE] for name in RETURN_KEYS if name in query}
        request.app[WORLD].journal.record(query.get("merchant_uid"), "page.returned", told)
    return _page(request, "order")


def _page(request: web.Request, name: str) -> web.Response:
    """Answer a page with nothing inline, nothing from elsewhere, and calls to the service alone."""
    shop = request.app.get(SHOP)
    text = _visit(name) if shop else _shell(_part("closed"))
    calls = f"'self' {shop.service.url}" if shop else "'self'"
    return html(text, f"{POLICY}; connect-src {calls}", "same-origin")


def _visit(name: str) -> str:
    """Return a page of a visit: the bar above, its own content, the timeline beside it, and its script."""
    scripts = f'<script src="/v1/iamport.js"></script>\n  <script type="module" src="/shop/static/{name}.js"></script>'
    return _shell(_part("visit").replace("<!-- main -->", _part(name)), scripts)


def _shell(body: str, scripts: str = "") -> str:
    return _part("shell").replace("<!-- scripts -->", scripts).replace("<!-- body -->", body)


def _part(name: str) -> str:
    return (FOLDER / f"{name}.html").read_text("utf-8").rstrip("\n")
