"""Handlers for the SDK's frame and the window's page. Both are of the sandbox's origin; other pages are refused."""

import re
from typing import Any

from aiohttp import web

from sandbox.answers import answer
from sandbox.browser import pages
from sandbox.browser.opening import NotOpened, WindowRequest, open_window
from sandbox.browser.outcome_names import CERTIFICATION_OUTCOMES, WindowOutcome
from sandbox.browser.outcomes import choose
from sandbox.browser.providers import PROVIDERS, list_channels
from sandbox.browser.script import MODES
from sandbox.browser.windows import Window
from sandbox.errors import BadInput, UnknownPayment
from sandbox.inputs import Body, read_object
from sandbox.world import WORLD, World

MOST_BODY_BYTES = 256 * 1024
ORIGIN = re.compile(r"https?://[^/\s]{1,300}")


async def list_account_channels(request: web.Request) -> web.Response:
    """`GET /v1/channels?user_code=`: the account's channels, and the others, which only a strict sandbox refuses."""
    config = request.app[WORLD].config
    channels = list_channels()
    if config.strict:
        known = config.account_with(request.query.get("user_code")) is not None
        channels = [channel for channel in channels if known and channel["registered"]]
    return answer({"channels": channels, "strict": config.strict})


async def open_requested_window(request: web.Request) -> web.Response:
    """`POST /v1/windows`: open a window for a page, or say why not."""
    world, wanted = request.app[WORLD], _read_request(read_object(await _body(request)))
    try:
        window = open_window(world, wanted)
    except NotOpened as refused:
        return answer({"window": None, "data": refused.data, "redirect_url": refused.redirect_url})
    world.windows.tell(window, "opened", mode=wanted.mode, provider=window.opening.provider.code, device=wanted.device)
    return answer({"window": window.id, "url": f"/v1/windows/{window.id}", "mode": wanted.mode}, status=201)


async def show_window(request: web.Request) -> web.Response:
    """`GET /v1/windows/{id}`: the window's page."""
    mode = _window(request).opening.mode
    return pages.page("window.html", framed=mode == "overlay")


async def read_window(request: web.Request) -> web.Response:
    """`GET /v1/windows/{id}/state`: what the window's page shows."""
    return answer(_shown(request.app[WORLD], _window(request)))


async def choose_outcome(request: web.Request) -> web.Response:
    """`POST /v1/windows/{id}/outcome`: end the window; a second choice changes nothing and gets the first's result."""
    world, window = request.app[WORLD], _window(request)
    body = read_object(await _body(request))
    outcome = _read_outcome(body, "outcome")
    body.finish()
    if outcome is None:
        raise BadInput("outcome is missing.")
    result = await choose(world, window, outcome)
    issued = window.payment is not None and window.payment.account_issued
    deposit = f"/v1/deposits/{window.imp_uid}" if issued else None
    return answer({"data": result.data, "returns": result.return_url is not None, "deposit_url": deposit})


async def return_to_page(request: web.Request) -> web.Response:
    """`GET /v1/windows/{id}/return`: back to the page by a redirect, with the result in the query."""
    window = _window(request)
    if window.result is None:
        raise web.HTTPSeeOther(f"/v1/windows/{window.id}")
    if window.result.return_url is None:
        return pages.page("fail.html", framed=False)
    raise web.HTTPFound(window.result.return_url)


def _shown(world: World, window: Window) -> dict[str, Any]:
    opening, payment = window.opening, window.payment
    fields = payment.fields if payment is not None else {}
    outcomes = list(WindowOutcome) if payment is not None else list(CERTIFICATION_OUTCOMES)
    shown = ("name", "amount", "currency", "pay_method", "status", "buyer_name")
    return {
        "kind": opening.kind,
        "mode": opening.mode,
        "imp_uid": window.imp_uid,
        "merchant_uid": window.merchant_uid,
        "provider": {"code": opening.provider.code, "ko": opening.provider.ko, "en": opening.provider.en},
        "simple": opening.provider.simple,
        "language": opening.params.get("language"),
        "page_origin": opening.page_origin,
        "outcomes": [outcome.value for outcome in outcomes],
        "autopilot": window.opening.outcome or world.windows.autopilot,
        "over": window.result is not None,
        **{name: fields.get(name) for name in shown},
    }


def _window(request: web.Request) -> Window:
    window = request.app[WORLD].windows.windows.get(request.match_info["window"])
    if window is None:
        raise UnknownPayment("There is no such window any more.")
    return window


def _read_request(body: Body) -> WindowRequest:
    kind, device = body.choice("kind", tuple(PROVIDERS)), body.choice("device", ("pc", "mobile"))
    tier, provider = body.anything("tier"), body.anything("provider")
    wanted = WindowRequest(
        user_code=body.anything("user_code"),
        tier=tier[:10] if isinstance(tier, str) else None,
        kind=kind or "payment",
        provider=provider if isinstance(provider, str) else "",
        device=device or "pc",
        mode=body.choice("mode", MODES) or "overlay",
        page_url=body.optional_text("page_url", 10_000) or "",
        page_origin=_read_origin(body),
        outcome=_read_outcome(body, "outcome"),
        params=body.mapping("params"),
    )
    body.finish()
    return wanted


def _read_origin(body: Body) -> str:
    origin = body.text("page_origin", 400)
    if not (ORIGIN.fullmatch(origin) or origin == "null"):
        raise BadInput("page_origin must be an origin.")
    return origin


def _read_outcome(body: Body, name: str) -> WindowOutcome | None:
    chosen = body.choice(name, [outcome.value for outcome in WindowOutcome])
    return WindowOutcome(chosen) if chosen is not None else None


async def _body(request: web.Request) -> bytes:
    raw = await request.read()
    if len(raw) > MOST_BODY_BYTES:
        raise BadInput(f"A request must be at most {MOST_BODY_BYTES} bytes.")
    return raw
