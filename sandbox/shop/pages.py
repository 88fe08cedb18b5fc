"""The shop's pages and what they load, each a file beside this module."""

from pathlib import Path

from aiohttp import web

from sandbox.shop.parts import SHOP
from sandbox.world import WORLD

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
FILES = {file.name: file for file in FOLDER.iterdir() if file.suffix in TYPES}

# What the service, or the SDK in a redirect, adds to the address of the return page.
RETURN_KEYS = ("merchant_uid", "state", "reason", "imp_uid", "error_code", "error_msg")
LONGEST_VALUE = 300


async def to_shop(_request: web.Request) -> web.Response:
    """`GET /`: on to the shop."""
    raise web.HTTPSeeOther("/shop")


async def checkout(request: web.Request) -> web.Response:
    """`GET /shop`: choose one of the goods and pay it."""
    return _page(request, "checkout.html" if SHOP in request.app else "closed.html")


async def order(request: web.Request) -> web.Response:
    """`GET /shop/return`: what became of an order. It is the service's RETURN_URL, so a buyer may arrive here."""
    query = request.query
    if "state" in query and query.get("via") != "callback":
        told = {name: query[name][:LONGEST_VALUE] for name in RETURN_KEYS if name in query}
        request.app[WORLD].journal.record(query.get("merchant_uid"), "page.returned", told)
    return _page(request, "order.html" if SHOP in request.app else "closed.html")


async def static_file(request: web.Request) -> web.Response:
    """`GET /shop/static/{name}`: a script, a style sheet or a picture."""
    file = FILES.get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=file.read_bytes(), content_type=TYPES[file.suffix], charset="utf-8", headers=headers)


def _page(request: web.Request, name: str) -> web.Response:
    text = (FOLDER / name).read_text("utf-8")
    return web.Response(text=text, content_type="text/html", headers=_headers(request.app))


def _headers(app: web.Application) -> dict[str, str]:
    """Return a page's headers: nothing inline, nothing from elsewhere, and calls to the service alone."""
    shop = app.get(SHOP)
    calls = f"'self' {shop.service.url}" if shop else "'self'"
    return {
        "Content-Security-Policy": f"{POLICY}; connect-src {calls}",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
