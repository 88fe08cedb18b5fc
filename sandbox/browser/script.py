"""Serve the SDK: the files of static/sdk in one scope, with the sandbox's address put before them."""

from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from sandbox.browser.outcome_names import WindowOutcome
from sandbox.world import WORLD

FOLDER = Path(__file__).parent / "static" / "sdk"
PARTS = ("texts.js", "channels.js", "frames.js", "requests.js", "messages.js", "buttons.js", "imp.js")
MODES = ("overlay", "popup", "redirect")
HEADERS = {
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",  # a module is only loaded from elsewhere where this allows it
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


async def classic_script(request: web.Request) -> web.Response:
    """`GET /v1/iamport.js`: sets `window.IMP`, unless a page has loaded it before."""
    return _script(f"if (!window.IMP) window.IMP = (() => {{\n{_code(request)}\nreturn createIMP(false);\n}})();\n")


async def module_script(request: web.Request) -> web.Response:
    """`GET /v1/iamport.esm.js`: the same as a module."""
    slots = "export const slots = { CORE_SERVER: SETTINGS.origin, CHECKOUT_SERVER: SETTINGS.origin };"
    return _script(f"{_code(request)}\n{slots}\nexport default createIMP(true);\n")


def origin_of(request: web.Request) -> str:
    """Return the address under which this browser reaches the sandbox.

    A script that is loaded as `https://cdn.iamport.kr/v1/iamport.js`, through a mapped host, must still find us.
    """
    world = request.app[WORLD]
    if world.config.public_url:
        return world.config.public_url.rstrip("/")
    if world.addresses.answers_to(request.host, loopback_only=False):
        return f"{request.scheme}://{request.host}"
    here = request.transport.get_extra_info("sockname") if request.transport is not None else None
    host, port = here[:2] if isinstance(here, tuple) else ("127.0.0.1", 8081)
    return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"


def _code(request: web.Request) -> str:
    settings = orjson.dumps(_settings(request)).decode()
    parts = "\n".join((FOLDER / name).read_text("utf-8") for name in PARTS)
    return f'"use strict";\nconst SETTINGS = {settings};\n{parts}'


def _settings(request: web.Request) -> dict[str, Any]:
    """Return the settings of the script, some of which its address may choose: the way every window opens and ends."""
    outcome, mode = request.query.get("outcome"), request.query.get("window")
    return {
        "origin": origin_of(request),
        "outcome": outcome if outcome in list(WindowOutcome) else None,
        "window": mode if mode in MODES else None,
    }


def _script(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/javascript", charset="utf-8", headers=HEADERS)
