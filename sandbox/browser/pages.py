"""The pages of the window, each a file beside this module, under a strict Content-Security-Policy."""

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FILES = {file.name: file for file in FOLDER.iterdir() if file.suffix in TYPES}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
# Pages of any origin put the window into a frame, as they do with PortOne's. `*` would leave out a page from a file.
NOT_FRAMED = "; frame-ancestors 'none'"


def page(name: str, *, framed: bool = True) -> web.Response:
    """Answer a page, which other origins may put into a frame only where `framed` says so."""
    headers = {
        "Content-Security-Policy": POLICY if framed else POLICY + NOT_FRAMED,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return web.Response(text=(FOLDER / name).read_text("utf-8"), content_type="text/html", headers=headers)


async def static_file(request: web.Request) -> web.Response:
    """`GET /v1/static/{name}`: a script, a style sheet or a picture of the pages."""
    file = FILES.get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=file.read_bytes(), content_type=TYPES[file.suffix], charset="utf-8", headers=headers)


async def frame_page(_request: web.Request) -> web.Response:
    """`GET /v1/frame`: the hidden frame in which the SDK opens a channel's window."""
    return page("frame.html")


async def failure_page(_request: web.Request) -> web.Response:
    """`GET /payments/fail`: where a phone's page ends that gave neither a callback nor an `m_redirect_url`."""
    return page("fail.html", framed=False)
