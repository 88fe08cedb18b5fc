"""The control API's part for windows: the autopilot, and what was opened."""

from typing import Any

from aiohttp import web

from sandbox.answers import answer
from sandbox.browser.outcome_names import WindowOutcome
from sandbox.browser.windows import Window
from sandbox.inputs import read_object
from sandbox.world import WORLD

MOST_SECONDS = 600


async def set_autopilot(request: web.Request) -> web.Response:
    """`POST /_control/window`: `{"outcome": "paid"}` lets every following window end so by itself; null asks again."""
    desk, body = request.app[WORLD].windows, read_object(await request.read())
    if body.has("later_seconds"):
        desk.later_seconds = body.number("later_seconds", desk.later_seconds, 0, MOST_SECONDS)
    if body.has("outcome"):
        chosen = body.choice("outcome", [outcome.value for outcome in WindowOutcome])
        desk.autopilot = WindowOutcome(chosen) if chosen is not None else None
    body.finish()
    return answer({"outcome": desk.autopilot, "later_seconds": desk.later_seconds})


async def read_windows(request: web.Request) -> web.Response:
    """`GET /_control/window`: the autopilot, and the windows of late, the newest last."""
    desk = request.app[WORLD].windows
    windows = [_shown(window) for window in desk.windows.values()]
    return answer({"outcome": desk.autopilot, "later_seconds": desk.later_seconds, "windows": windows[-100:]})


def _shown(window: Window) -> dict[str, Any]:
    opening, result = window.opening, window.result
    return {
        "id": window.id,
        "imp_uid": window.imp_uid,
        "merchant_uid": window.merchant_uid,
        "kind": opening.kind,
        "provider": opening.provider.code,
        "mode": opening.mode,
        "device": opening.device,
        "params": opening.params,
        "callback": None if result is None else result.data,
        "return_url": None if result is None else result.return_url,
    }
