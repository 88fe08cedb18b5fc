"""Register, read, amend and withdraw an order, and accept its payment, over HTTP with a service key."""

from dataclasses import replace
from typing import Any, cast

from aiohttp import web

from service.db.order_views import Registered
from service.db.orders import NewOrder
from service.domain.ids import is_merchant_uid
from service.domain.order import Order
from service.http import order_examples
from service.http.ages import AGE, OLD_ORDERS
from service.http.completions import WAIT, wait_seconds
from service.http.conditions import (
    IF_NONE_MATCH,
    NOT_MODIFIED,
    ORDER_VERSION,
    etag,
    has_seen,
    not_modified,
    versions_to_match,
)
from service.http.endpoints import Body, EndpointTable, HttpAnswer, Parameter
from service.http.idempotency import IDEMPOTENCY_KEY, idempotent
from service.http.log_names import name_order
from service.http.order_answers import (
    OrderAnswer,
    OrderWithPaymentAnswer,
    order_fields,
    whole_order,
)
from service.http.order_bodies import AcceptBody, AmendBody, OrderBody, WithdrawBody, read_order_body
from service.http.problem_types import DATABASE_PROBLEMS
from service.http.problems import HttpProblem, json_response
from service.http.receiver import RECEIVER, Receiver
from service.http.stores import require_store
from service.http.waiting import WAIT_FOR_CHANGE, read_or_wait
from service.usecases import terms
from service.usecases.acceptance import Acceptance, accept
from service.usecases.closing import Override

endpoints = EndpointTable("orders")

_IF_MATCH = Parameter(
    "If-Match",
    "header",
    str,
    "The ETag that the order was read with. Without it the order is changed as it is now.",
    example='"1"',
    problems=("malformed-if-match", "version-moved"),
)
_IF_MATCH_REQUIRED = replace(
    _IF_MATCH,
    description="The ETag that the order was read with, so that nobody overwrites what he has not seen; `*` means"
    " whatever it is now.",
    required=True,
    problems=(*_IF_MATCH.problems, "if-match-required"),
)
# The problems of each endpoint that names an order.
OF_ORDER = ("order-not-registered", "order-archived", *DATABASE_PROBLEMS)


def _registered(description: str) -> HttpAnswer:
    return HttpAnswer(description, OrderAnswer, {"pending": order_examples.REGISTERED}, (ORDER_VERSION,))


def _order(description: str, **examples: Any) -> dict[int, HttpAnswer]:
    return {200: HttpAnswer(description, OrderWithPaymentAnswer, examples, (ORDER_VERSION,))}


@endpoints.add(
    "POST",
    "/orders",
    "Register an order before it is paid",
    "Doing it again with the same terms answers 200 and changes nothing. A payment that was seen before its order is"
    " settled at this moment.",
    id="registerOrder",
    scope="orders:write",
    parameters=(IDEMPOTENCY_KEY,),
    body=Body(OrderBody, {"least": order_examples.NEW_LEAST, "most": order_examples.NEW_MOST}),
    answers={
        201: _registered("It is registered now."),
        200: _registered("The same order was registered already. This is how it stands."),
    },
    problems=("invalid-order", "unknown-account", "unknown-tier", "other-terms", "order-archived", *DATABASE_PROBLEMS),
)
@idempotent
async def register_order(request: web.Request) -> web.Response:
    """Register an order: 201 when new, 200 when the same is registered already, 409 when it is with other terms."""
    receiver, body = request.app[RECEIVER], await read_order_body(request, OrderBody)
    name_order(request, body.merchant_uid)
    registered = await register(receiver, body)
    return _answer(registered_order(receiver, registered), status=201 if registered.new else 200)


@endpoints.add(
    "GET",
    "/orders/{merchant_uid}",
    "Read an order's verified state",
    "With the ETag of an earlier answer as `If-None-Match`, 304 says that this is still its version. `prepared` and the"
    " payment's `details` are no part of the version: read without the header to see them. With `Prefer: wait=30`"
    " beside it the answer waits for the next change, and names the wait in `Preference-Applied`.",
    id="readOrder",
    scope="orders:read",
    parameters=(IF_NONE_MATCH, WAIT_FOR_CHANGE, OLD_ORDERS),
    answers={
        200: HttpAnswer(
            "The order as it stands.",
            OrderWithPaymentAnswer,
            {"paid": order_examples.PAID, "mismatched": order_examples.MISMATCHED},
            (ORDER_VERSION, AGE),
        ),
        304: NOT_MODIFIED,
    },
    problems=OF_ORDER,
)
async def read_order(request: web.Request) -> web.Response:
    """Answer an order's verified state, on which other services may rely, or 304 to who has its version."""
    view, applied = await read_or_wait(request, merchant_uid_of(request))
    if view is None:
        raise not_registered()
    seen = has_seen(request, view.order.version)
    answer = not_modified(view.order.version) if seen else _answer(whole_order(view))
    answer.headers.update(applied)
    return answer


@endpoints.add(
    "PATCH",
    "/orders/{merchant_uid}",
    "Change an order's terms before it is paid",
    "What is left out stays. Changing nothing is no new version.",
    id="amendOrder",
    scope="orders:write",
    parameters=(_IF_MATCH_REQUIRED, IDEMPOTENCY_KEY),
    body=Body(AmendBody, {"amount": {"amount": 59900}, "emptied": {"name": None, "metadata": None}}),
    answers=_order("The order as it is now.", changed=order_examples.AMENDED),
    problems=("invalid-order", "order-closed", "money-came", *OF_ORDER),
)
@idempotent
async def amend_order(request: web.Request) -> web.Response:
    """Change an order's terms before its payment, if it still is as the caller last read it."""
    versions = versions_to_match(request, required=True)
    body = await read_order_body(request, AmendBody)
    receiver = request.app[RECEIVER]
    amended = await terms.amend(
        receiver.pool,
        merchant_uid_of(request),
        versions,
        cast("terms.Changes", body.model_dump(exclude_unset=True)),
        allow_test_channel=receiver.settings.allow_test_channel,
        prepare=receiver.settings.prepare_amount,
    )
    receiver.announcer.changed(amended.order.terms.merchant_uid)
    return _answer(whole_order(amended))


@endpoints.add(
    "POST",
    "/orders/{merchant_uid}/withdraw",
    "Close an order that nobody paid",
    "A worker asks PortOne for the order's payments first, and the call waits for that as long as `Prefer` says. Then"
    " `closed` becomes `withdrawn`, unless money came, or an account that was issued still takes a deposit. An order"
    " that is closed already stays as it is. Money may come all the same, from a window that is still open; then the"
    " state says so, and the order has the problem `paid_after_close`.",
    id="withdrawOrder",
    scope="orders:write",
    parameters=(_IF_MATCH, WAIT, IDEMPOTENCY_KEY),
    body=Body(WithdrawBody, {"forced": order_examples.FORCED}, required=False),
    answers=_order("The order as it is now.", withdrawn=order_examples.WITHDRAWN),
    problems=("invalid-order", "money-came", "deposit-awaited", "portone-not-asked", *OF_ORDER),
)
@idempotent
async def withdraw_order(request: web.Request) -> web.Response:
    """Cancel an order that nobody paid, once a worker has asked PortOne; doing it again changes nothing."""
    merchant_uid, versions = merchant_uid_of(request), versions_to_match(request, required=False)
    body = await read_order_body(request, WithdrawBody) if request.body_exists else WithdrawBody()
    override = Override(body.who, body.why) if body.force and body.who and body.why else None
    receiver = request.app[RECEIVER]
    withdrawn = await receiver.withdrawals.withdraw(merchant_uid, versions, wait_seconds(request), override)
    receiver.announcer.changed(merchant_uid)
    return _answer(whole_order(withdrawn))


@endpoints.add(
    "POST",
    "/orders/{merchant_uid}/accept",
    "Accept a payment as it is",
    "A person says that money of another amount, or of an order that was closed, is the order's: `amount` becomes the"
    " payment's, `closed` becomes null, and `registered_amount` keeps what the shop gave. Who and why are kept with the"
    " version. Accepting the same payment again changes nothing. A refund of it that was not sent is withdrawn.",
    id="acceptPayment",
    scope="orders:write",
    parameters=(_IF_MATCH, IDEMPOTENCY_KEY),
    body=Body(AcceptBody, {"more": order_examples.ACCEPTED}),
    answers=_order("The order as it is now.", accepted=order_examples.PAID),
    problems=("invalid-order", "not-acceptable", *OF_ORDER),
)
@idempotent
async def accept_payment(request: web.Request) -> web.Response:
    """Make a payment of another amount, or of a closed order, the order's as it is; again changes nothing."""
    merchant_uid, versions = merchant_uid_of(request), versions_to_match(request, required=False)
    body = await read_order_body(request, AcceptBody)
    receiver = request.app[RECEIVER]
    acceptance = Acceptance(body.imp_uid, body.who, body.why)
    allow = receiver.settings.allow_test_channel
    accepted = await accept(receiver.pool, merchant_uid, versions, acceptance, allow_test_channel=allow)
    receiver.announcer.changed(merchant_uid)
    return _answer(whole_order(accepted))


async def register(receiver: Receiver, body: OrderBody) -> Registered:
    """Register one order. Raises HttpProblem, OtherTerms, Overloaded or PostgresUnavailable."""
    store = require_store(receiver.accounts, body.account, body.tier)
    allow = (receiver.settings.allow_test_channel, body.allow_billing_key_issue)
    order = Order(body.merchant_uid, body.amount, body.currency, store, *allow)
    return await receiver.registration.register(NewOrder(order, body.name, body.metadata, body.expires_at))


def registered_order(receiver: Receiver, registered: Registered) -> dict[str, Any]:
    """Return the fields of an OrderAnswer, with a new token."""
    token = receiver.checkout_tokens.issue(registered.order.terms.merchant_uid)
    return order_fields(registered.order, registered.preparation) | {"checkout_token": token}


def merchant_uid_of(request: web.Request) -> str:
    """Return the number in the address. Raises HttpProblem."""
    merchant_uid = request.match_info["merchant_uid"]
    if not is_merchant_uid(merchant_uid):
        raise not_registered()
    return merchant_uid


def not_registered() -> HttpProblem:
    """Return the refusal of a number that nobody registered."""
    return HttpProblem(404, "order-not-registered", "No order is registered under this merchant_uid.")


def _answer(order: dict[str, Any], status: int = 200) -> web.Response:
    return json_response(order, status=status, headers={"ETag": etag(order["version"])})
