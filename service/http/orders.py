"""Register, read, amend and withdraw an order, and accept its payment, over HTTP with a service key."""

import re
from typing import Any, cast

from aiohttp import web

from service.db.order_views import OrderView
from service.db.orders import NewOrder, StoredOrder
from service.db.preparations import Preparation
from service.domain.ids import is_merchant_uid
from service.domain.order import Order
from service.domain.payment import Payment
from service.http.completions import wait_seconds
from service.http.keys import require_key
from service.http.order_bodies import AcceptBody, AmendBody, OrderBody, WithdrawBody, read_order_body
from service.http.problems import HttpProblem, json_response
from service.http.receiver import RECEIVER
from service.http.stores import require_store
from service.usecases import terms
from service.usecases.acceptance import Acceptance, accept
from service.usecases.closing import Override

# RFC 9110 §13.1.1: a list of entity tags, of which only the strong ones can match. Ours are versions.
_TAGS = re.compile(r'(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*')
_VERSION = re.compile(r'(?<!W/)"(\d{1,9})"')


async def register_order(request: web.Request) -> web.Response:
    """Register an order: 201 when new, 200 when the same is registered already, 409 when it is with other terms."""
    require_key(request)
    receiver = request.app[RECEIVER]
    body = await read_order_body(request, OrderBody)
    store = require_store(receiver.settings, body.account, body.tier)
    allow = (receiver.settings.allow_test_channel, body.allow_billing_key_issue)
    order = Order(body.merchant_uid, body.amount, body.currency, store, *allow)
    registered = await receiver.registration.register(NewOrder(order, body.name, body.metadata, body.expires_at))
    return _answer(_order_fields(registered.order, registered.preparation), status=201 if registered.new else 200)


async def read_order(request: web.Request) -> web.Response:
    """Answer an order's verified state, on which other services may rely."""
    require_key(request)
    order = await request.app[RECEIVER].reading.read(_merchant_uid(request))
    if order is None:
        raise _not_registered()
    return _answer(_whole(order))


async def amend_order(request: web.Request) -> web.Response:
    """Change an order's terms before its payment, if it still is as the caller last read it."""
    require_key(request)
    versions = _versions(request, required=True)
    body = await read_order_body(request, AmendBody)
    receiver = request.app[RECEIVER]
    amended = await terms.amend(
        receiver.pool,
        _merchant_uid(request),
        versions,
        cast("terms.Changes", body.model_dump(exclude_unset=True)),
        allow_test_channel=receiver.settings.allow_test_channel,
        prepare=receiver.settings.prepare_amount,
    )
    return _answer(_whole(amended))


async def withdraw_order(request: web.Request) -> web.Response:
    """Cancel an order that nobody paid, once a worker has asked PortOne; doing it again changes nothing."""
    require_key(request)
    merchant_uid, versions = _merchant_uid(request), _versions(request, required=False)
    body = await read_order_body(request, WithdrawBody) if request.can_read_body else WithdrawBody()
    override = Override(body.who, body.why) if body.force and body.who and body.why else None
    withdrawn = await request.app[RECEIVER].withdrawals.withdraw(
        merchant_uid, versions, wait_seconds(request), override
    )
    return _answer(_whole(withdrawn))


async def accept_payment(request: web.Request) -> web.Response:
    """Make a payment of another amount, or of a closed order, the order's as it is; again changes nothing."""
    require_key(request)
    merchant_uid, versions = _merchant_uid(request), _versions(request, required=False)
    body = await read_order_body(request, AcceptBody)
    receiver = request.app[RECEIVER]
    acceptance = Acceptance(body.imp_uid, body.who, body.why)
    allow = receiver.settings.allow_test_channel
    return _answer(_whole(await accept(receiver.pool, merchant_uid, versions, acceptance, allow_test_channel=allow)))


def _merchant_uid(request: web.Request) -> str:
    merchant_uid = request.match_info["merchant_uid"]
    if not is_merchant_uid(merchant_uid):
        raise _not_registered()
    return merchant_uid


def _versions(request: web.Request, *, required: bool) -> frozenset[int] | None:
    """Return the versions that If-Match lets pass. None: any."""
    tags = ",".join(request.headers.getall("If-Match", [])).strip()
    if not tags and required:
        raise HttpProblem(428, "if-match-required", "Send the ETag that the order was read with as If-Match.")
    if tags in ("", "*"):
        return None
    if not _TAGS.fullmatch(tags):
        raise HttpProblem(400, "malformed-if-match", "Send If-Match as the order's ETag, quotes included.")
    return frozenset(int(version) for version in _VERSION.findall(tags))


def _not_registered() -> HttpProblem:
    return HttpProblem(404, "order-not-registered", "No order is registered under this merchant_uid.")


def _answer(order: dict[str, Any], status: int = 200) -> web.Response:
    return json_response(order, status=status, headers={"ETag": f'"{order["version"]}"'})


def _whole(found: OrderView) -> dict[str, Any]:
    payment = _payment_fields(found.payment) if found.payment else None
    return _order_fields(found.order, found.preparation) | {"payment": payment}


def _order_fields(order: StoredOrder, preparation: Preparation | None) -> dict[str, Any]:
    terms, settled = order.terms, order.settlement
    return {
        "merchant_uid": terms.merchant_uid,
        "state": settled.state.value,
        "closed": terms.closed.value if terms.closed else None,
        "version": order.version,
        "amount": terms.amount,
        "registered_amount": order.registered_amount,
        "currency": terms.currency,
        "paid_amount": settled.paid_amount,
        "cancelled_amount": settled.cancelled_amount,
        "imp_uid": settled.imp_uid,
        "problems": [{"kind": problem.kind.value, "imp_uid": problem.imp_uid} for problem in settled.problems],
        "test_channel": settled.test_channel,
        "allow_billing_key_issue": terms.allow_billing_key_issue,
        "prepared": _preparation_text(preparation) if preparation else None,
        "name": order.name,
        "account": terms.store.account,
        "tier": terms.store.tier or None,
        "metadata": order.metadata,
        "expires_at": order.expires_at,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }


def _preparation_text(preparation: Preparation) -> str:
    return f"refused: {preparation.reason}" if preparation.reason else preparation.outcome.value


def _payment_fields(payment: Payment) -> dict[str, Any]:
    return {
        "imp_uid": payment.imp_uid,
        "status": payment.status.value,
        "amount": payment.amount,
        "currency": payment.currency,
        "cancelled_amount": payment.cancelled_amount,
        "paid_at": payment.paid_at,
        "details": dict(payment.details),
    }
