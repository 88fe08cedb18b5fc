"""The shop's back end: it makes the order's number, registers the order, and reads its state for the shop's pages."""

from typing import Any
from uuid import uuid4

from aiohttp import web

from sandbox.answers import answer
from sandbox.errors import BadInput
from sandbox.inputs import Body, read_object
from sandbox.shop.catalogue import GOODS, MOST_OF_ONE, in_units
from sandbox.shop.parts import SHOP, Shop
from sandbox.world import WORLD

# What an order is registered with, as the service answers it.
TERMS = ("merchant_uid", "amount", "currency", "name", "account", "tier", "metadata", "allow_billing_key_issue")
LANGUAGES = ("ko", "en")
PAGE_EVENTS = ("page.callback", "page.completion", "page.completion_answered")
MOST_EVENT_BYTES = 8192
MOST_SECONDS_AGO = 60.0


async def list_goods(request: web.Request) -> web.Response:
    """`GET /shop/api/goods`: what is sold, and where the page sends the browser's part of a payment."""
    goods = [
        {"id": good.id, "ko": good.name_ko, "en": good.name_en, "price": good.price, "currency": good.currency}
        for good in GOODS.values()
    ]
    shop = request.app.get(SHOP)
    return answer({"goods": goods, "most_of_one": MOST_OF_ONE, "service_url": shop.service.url if shop else None})


async def register_order(request: web.Request) -> web.Response:
    """`POST /shop/api/orders`: the price is the catalogue's; the page chooses only what and how many."""
    shop, body = open_shop(request), read_object(await request.read())
    order, name = _read_order(body)
    body.finish()
    merchant_uid = order["merchant_uid"]
    request.app[WORLD].watch_order(merchant_uid)
    began = request.app[WORLD].clock()
    answered = await shop.service.register(order)
    told = {"order": order, "answer_status": answered.status}
    shop.journal.record(merchant_uid, "order.registered", told, at=began)
    if answered.status not in (200, 201):
        return answer({"error": "The service did not register the order.", "problem": answered.body}, status=502)
    # The version as registered: a payment that ends before the first look at the order would hide it.
    await shop.order_watch.read(merchant_uid)
    token = {"checkout_token": answered.body.get("checkout_token")}
    return answer(_checkout(order, name) | token, status=201)


async def renew_token(request: web.Request) -> web.Response:
    """`POST /shop/api/orders/{merchant_uid}/token`: another token for the order's page, by registering it again.

    A real shop asks first whether the order is this visitor's.
    """
    service = open_shop(request).service
    answered = await service.read(request.match_info["merchant_uid"])
    if answered.status == 200:
        answered = await service.register({name: answered.body[name] for name in TERMS if answered.body.get(name)})
    token = answered.body.get("checkout_token")
    if token is None:
        return answer({"error": "The service gives no token.", "problem": answered.body}, status=502)
    return answer({"checkout_token": token})


async def read_order(request: web.Request) -> web.Response:
    """`GET /shop/api/orders/{merchant_uid}`: the order's verified state, as the service says it."""
    answered = await open_shop(request).service.read(request.match_info["merchant_uid"])
    if answered.status == 404:
        return answer({"error": "There is no such order."}, status=404)
    if answered.status != 200:
        return answer({"error": "The service does not answer.", "problem": answered.body}, status=502)
    order = answered.body
    return answer({"order": order, "checkout": _checkout(order, order.get("name") or order["merchant_uid"])})


async def record_page_event(request: web.Request) -> web.Response:
    """`POST /shop/api/orders/{merchant_uid}/seen`: what the page saw, for the timeline alone."""
    shop, raw = open_shop(request), await request.read()
    if len(raw) > MOST_EVENT_BYTES:
        raise BadInput(f"An event must be at most {MOST_EVENT_BYTES} bytes.")
    body = read_object(raw)
    kind = body.choice("kind", PAGE_EVENTS)
    now = request.app[WORLD].clock()
    at, evidence = body.number("at", now, 0, 2**40), body.mapping("evidence")
    body.finish()
    if kind is None:
        raise BadInput("kind is missing.")
    # A browser's clock is this machine's own, unless it comes from elsewhere; then its events are of now.
    believable = now - MOST_SECONDS_AGO < at < now
    shop.journal.record(request.match_info["merchant_uid"], kind, evidence, at=at if believable else now)
    return answer({})


def open_shop(request: web.Request) -> Shop:
    """Return the shop; 503 where the sandbox was started without a service."""
    shop = request.app.get(SHOP)
    if shop is None:
        raise web.HTTPServiceUnavailable(reason="Start the sandbox with --service-url and SANDBOX_SERVICE_KEY")
    return shop


def _read_order(body: Body) -> tuple[dict[str, Any], str]:
    """Return the order to register, and its name in the page's language."""
    good = GOODS[body.choice("good", list(GOODS)) or "chair"]
    quantity = body.whole("quantity", 1, 1, MOST_OF_ONE)
    name = good.name(body.choice("language", LANGUAGES) or "ko")
    title = f"{name} × {quantity}" if quantity > 1 else name
    order = {
        "merchant_uid": f"payment-{uuid4()}",
        "amount": good.price * quantity,
        "currency": good.currency,
        "name": title,
        "metadata": {"good": good.id, "quantity": quantity},
    }
    return order, title


def _checkout(order: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what the page gives to `IMP.request_pay`: the amount in the currency's own unit."""
    amount, currency = in_units(order["amount"], order["currency"]), order["currency"]
    return {"merchant_uid": order["merchant_uid"], "name": name, "amount": amount, "currency": currency}
