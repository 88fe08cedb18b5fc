"""`POST /orders/{merchant_uid}/verify`: have PortOne asked now for an order's payments, and answer what came of it."""

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, Field

from service.domain.completion import Unsettled
from service.http import order_examples
from service.http.completions import WAIT, NotYetAnswer, not_yet, not_yet_example, wait_seconds
from service.http.endpoints import RETRY_AFTER, EndpointTable, HttpAnswer
from service.http.idempotency import IDEMPOTENCY_KEY, idempotent
from service.http.order_answers import OrderWithPaymentAnswer, PaymentAnswer, payment_fields, whole_order
from service.http.orders import OF_ORDER, merchant_uid_of
from service.http.problems import json_response
from service.http.receiver import RECEIVER

endpoints = EndpointTable("orders")


class RecheckedAnswer(BaseModel):
    """An order as it stands once PortOne was asked for all its payments."""

    asked_at: AwareDatetime = Field(description="When PortOne was asked, which is after the call came.")
    changed: bool = Field(description="The order has another version than before the call.")
    window_open: bool = Field(description="The newest payment is a window that is still open: the buyer may yet pay.")
    payments: list[PaymentAnswer] = Field(
        description="The newest of the order's payments, 50 at most, without windows that were only opened."
    )
    order: OrderWithPaymentAnswer


@endpoints.add(
    "POST",
    "/orders/{merchant_uid}/verify",
    "Look again now, and answer what came of it",
    "A worker asks PortOne for all payments of the order, and the call waits for that as long as `Prefer` says. What"
    " differs from what is stored is looked at and settled before the answer. 202 says that PortOne has not answered"
    " yet: the worker goes on without you, so read on later. An order is asked about twice a second at most, and calls"
    " that come together share one question.",
    id="verifyOrder",
    scope="orders:write",
    parameters=(WAIT, IDEMPOTENCY_KEY),
    answers={
        200: HttpAnswer(
            "PortOne was asked. This is how the order stands.",
            RecheckedAnswer,
            {"paid": order_examples.RECHECKED},
        ),
        202: HttpAnswer(
            "PortOne has not answered within the wait.",
            NotYetAnswer,
            {"silent": not_yet_example("order-1", Unsettled.PORTONE_NOT_ANSWERING)},
            (RETRY_AFTER,),
        ),
    },
    problems=OF_ORDER,
)
@idempotent
async def verify_order(request: web.Request) -> web.Response:
    """Answer the order as PortOne has it now, or 202 while PortOne does not say."""
    merchant_uid = merchant_uid_of(request)
    found = await request.app[RECEIVER].rechecks.recheck(merchant_uid, wait_seconds(request))
    if isinstance(found, Unsettled):
        return not_yet(merchant_uid, found)
    return json_response(
        {
            "asked_at": found.asked_at,
            "changed": found.changed,
            "window_open": found.window_open,
            "payments": [payment_fields(payment) for payment in found.payments],
            "order": whole_order(found.view),
        }
    )
