"""The control API, `/_control/…`: it acts as buyer and as PortOne's console, and causes failures."""

from collections import Counter

from aiohttp import web

from sandbox import control_payments
from sandbox.answers import CONTROL_PREFIX, answer
from sandbox.faults import FORMATS, Faults, read_faults
from sandbox.inputs import read_object
from sandbox.payment import Owner
from sandbox.webhooks import CONSOLE_TEST_BODY, Delivery, as_json, body_of
from sandbox.world import WORLD

MOST_TIMES = 1000
MOST_TOKEN_LIFE_SECONDS = 24 * 3600


async def read_switches(request: web.Request) -> web.Response:
    """`GET /_control/faults`: answers the fault switches."""
    return _faults(request)


async def set_switches(request: web.Request) -> web.Response:
    """`POST /_control/faults`: sets those that are named, leaves the others."""
    desk = request.app[WORLD].faults
    desk.set(read_faults(read_object(await request.read()), desk.now))
    return _faults(request)


async def clear_switches(request: web.Request) -> web.Response:
    """`DELETE /_control/faults`: switches all off, cuts hung calls, sends the webhooks that were held back."""
    world = request.app[WORLD]
    world.faults.clear()
    await world.sender.release_held()
    return _faults(request)


async def change_account(request: web.Request) -> web.Response:
    """`POST /_control/account`: changes the secret, the token's life or the Endpoint URL, or ends the present token."""
    world, body = request.app[WORLD], read_object(await request.read())
    tokens, sender = world.tokens.of_account[world.read_account(body)], world.sender
    secret = body.optional_text("imp_secret") or tokens.imp_secret
    life = body.whole("token_life_seconds", tokens.life_seconds, 1, MOST_TOKEN_LIFE_SECONDS)
    webhook_url = body.url("webhook_url", world.addresses) or sender.webhook_url
    expire = body.flag("expire_token")
    body.finish()
    sender.webhook_url = webhook_url
    tokens.imp_secret, tokens.life_seconds = secret, life
    if expire:
        tokens.expire()
    return answer({"imp_key": tokens.imp_key, "token_life_seconds": life, "webhook_url": webhook_url})


async def read_calls(request: web.Request) -> web.Response:
    """`GET /_control/calls`: answers the counts."""
    return answer(request.app[WORLD].calls.report())


async def clear_calls(request: web.Request) -> web.Response:
    """`DELETE /_control/calls`: starts the counts at zero."""
    calls = request.app[WORLD].calls
    calls.clear()
    return answer(calls.report())


async def list_webhooks(request: web.Request) -> web.Response:
    """`GET /_control/webhooks[?imp_uid=]`: lists the deliveries in their order, and counts those still to come."""
    sender, imp_uid = request.app[WORLD].sender, request.query.get("imp_uid")
    shown = [one for one in sender.deliveries if imp_uid is None or one.body.get("imp_uid") == imp_uid]
    return _deliveries(shown, sender.waiting)


async def clear_webhooks(request: web.Request) -> web.Response:
    """`DELETE /_control/webhooks`: forgets the deliveries."""
    sender = request.app[WORLD].sender
    sender.deliveries.clear()
    return _deliveries([], sender.waiting)


async def send_webhook(request: web.Request) -> web.Response:
    """`POST /_control/webhooks/send`: sends a payment's webhook again, all copies at once, without the switches."""
    world, body = request.app[WORLD], read_object(await request.read())
    imp_uid, status = body.text("imp_uid"), body.optional_text("status")
    times, chosen = body.whole("times", 1, 1, MOST_TIMES), body.choice("format", FORMATS)
    tier, url, elsewhere = body.optional_text("tier", 10), body.url("url", world.addresses), body.given("account")
    account = world.read_account(body)
    body.finish()
    payment = world.ledger.payment(imp_uid)
    console = world.sender.url_for_owner(Owner(account, tier)) if tier or elsewhere else None
    addresses = [url or console] if url or console else world.sender.urls_for(payment)
    content = body_of(payment, status)
    webhooks = [webhook for address in addresses for webhook in world.sender.encoded(address, content, chosen)] * times
    return _deliveries(await world.sender.deliver_all(webhooks))


async def send_console_test(request: web.Request) -> web.Response:
    """`POST /_control/console-test`: sends the dummy body of the console's test button."""
    world, body = request.app[WORLD], read_object(await request.read())
    chosen, url = body.choice("format", FORMATS), body.url("url", world.addresses)
    body.finish()
    webhooks = world.sender.encoded(url or world.sender.webhook_url, CONSOLE_TEST_BODY, chosen)
    return _deliveries(await world.sender.deliver_all(webhooks))


async def reset(request: web.Request) -> web.Response:
    """`POST /_control/reset`: forgets payments, counts, switches, tokens and windows, but not the Endpoint URL."""
    request.app[WORLD].reset()
    return answer({})


def _faults(request: web.Request) -> web.Response:
    now = request.app[WORLD].faults.now
    return answer({name: getattr(now, name) for name in Faults.__dataclass_fields__})


def _deliveries(deliveries: list[Delivery], waiting: int = 0) -> web.Response:
    outcomes = Counter(delivery.outcome for delivery in deliveries)
    shown = [as_json(delivery) for delivery in deliveries]
    return answer({"deliveries": shown, "outcomes": dict(outcomes), "waiting": waiting})


ROUTES = [
    web.post(f"{CONTROL_PREFIX}/payments", control_payments.open_payment),
    web.get(f"{CONTROL_PREFIX}/payments", control_payments.list_payments),
    web.get(f"{CONTROL_PREFIX}/payments/{{imp_uid}}", control_payments.get_payment),
    web.post(f"{CONTROL_PREFIX}/payments/{{imp_uid}}/{{action}}", control_payments.move_payment),
    web.post(f"{CONTROL_PREFIX}/pay", control_payments.pay_at_once),
    web.post(f"{CONTROL_PREFIX}/bulk", control_payments.pay_in_bulk),
    web.get(f"{CONTROL_PREFIX}/webhooks", list_webhooks),
    web.delete(f"{CONTROL_PREFIX}/webhooks", clear_webhooks),
    web.post(f"{CONTROL_PREFIX}/webhooks/send", send_webhook),
    web.post(f"{CONTROL_PREFIX}/console-test", send_console_test),
    web.get(f"{CONTROL_PREFIX}/calls", read_calls),
    web.delete(f"{CONTROL_PREFIX}/calls", clear_calls),
    web.get(f"{CONTROL_PREFIX}/faults", read_switches),
    web.post(f"{CONTROL_PREFIX}/faults", set_switches),
    web.delete(f"{CONTROL_PREFIX}/faults", clear_switches),
    web.post(f"{CONTROL_PREFIX}/account", change_account),
    web.post(f"{CONTROL_PREFIX}/reset", reset),
]
