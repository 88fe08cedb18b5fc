"""The pages of the window, each a file beside this module, under a strict Content-Security-Policy."""

from pathlib import Path

from aiohttp import web

from sandbox.files import StaticFiles, html

FOLDER = Path(__file__).parent / "static"
FILES = StaticFiles(FOLDER)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
# Pages of any origin put the window into a frame, as they do with PortOne's. `*` would leave out a page from a file.
NOT_FRAMED = "; frame-ancestors 'none'"


def page(name: str, *, framed: bool = True) -> web.Response:
    """Answer a page, which other origins may put into a frame only where `framed` says so."""
    policy = POLICY if framed else POLICY + NOT_FRAMED
    return html((FOLDER / name).read_text("utf-8"), policy, "no-referrer")


async def frame_page(_request: web.Request) -> web.Response:
    """`GET /v1/frame`: the hidden frame in which the SDK opens a channel's window."""
    return page("frame.html")


async def failure_page(_request: web.Request) -> web.Response:
    """`GET /payments/fail`: where a phone's page ends that gave neither a callback nor an `m_redirect_url`."""
    return page("fail.html", framed=False)
