"""`POST /payment/complete`, by which a browser says that it has paid."""

import math
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from service.domain.completion import CompletionRefusal, Unsettled, Verified
from service.domain.ids import can_stand_in_address
from service.domain.notice import Notice, Source
from service.domain.order import State
from service.errors import UnusableNotice
from service.http.bodies import read_fields
from service.http.endpoints import RETRY_AFTER, Body, EndpointTable, Header, HttpAnswer, Parameter
from service.http.field_types import MerchantUid, open_words
from service.http.log_names import name_notice
from service.http.problems import RETRY_AFTER_SECONDS, HttpProblem, json_response
from service.http.rate_headers import RATE_LIMIT, take
from service.http.receiver import RECEIVER
from service.notice_ids import new_notice_id
from service.portone.notice import known_keys, names_payment, order_number
from service.usecases.completion import Caller, Completed

_WAIT_MAX_SECONDS = 20.0
_PREFER_WAIT = re.compile(r"\bwait\s*=\s*\"?(\d{1,6})\b", re.IGNORECASE)

_SENTENCES = {
    CompletionRefusal.WRONG_AMOUNT: "The amount that was paid is not the order's.",
    CompletionRefusal.WRONG_CURRENCY: "The currency that was paid is not the order's.",
    CompletionRefusal.WRONG_STORE: "The payment was made in another store than the order's.",
    CompletionRefusal.TEST_CHANNEL: "The payment was made on a test channel, so no money moved.",
    CompletionRefusal.BILLING_KEY_ISSUE: "The payment only issued a billing key, so it does not count as paid.",
    CompletionRefusal.OTHER_ORDER: "The payment is not for this order.",
    CompletionRefusal.PAYMENT_FAILED: "The payment failed; start another one.",
    CompletionRefusal.PAYMENT_UNKNOWN: "PortOne knows no such payment.",
}

endpoints = EndpointTable("browsers")

_GOOD = (State.PAID, State.AWAITING_DEPOSIT, State.PARTIALLY_CANCELLED, State.CANCELLED)

WAIT = Parameter(
    "Prefer",
    "header",
    str,
    "`wait=N` waits for at most N seconds, and 20 at most. Without it COMPLETION_WAIT_SECONDS counts.",
    example="wait=5",
)


class CompletionBody(BaseModel):
    """A browser's word that it has paid. Further keys are tolerated and not kept. One of both must be usable."""

    model_config = ConfigDict(extra="allow")

    imp_uid: str | None = None
    merchant_uid: str | int | None = None


class CompletedAnswer(BaseModel):
    """The verified state of the order that was completed."""

    merchant_uid: MerchantUid
    state: str = open_words(_GOOD, "What this payment makes of its order.")


class NotYetAnswer(BaseModel):
    """The word that nothing final can be said yet."""

    merchant_uid: MerchantUid | None
    reason: str = open_words(Unsettled, "Whatever the reason, read on later, and do not have the buyer pay again.")
    read_on: str | None = Field(description="Where a service, with its key, reads on.")


def not_yet_example(merchant_uid: str | None, reason: Unsettled) -> dict[str, Any]:
    """Return a NotYetAnswer for the OpenAPI document."""
    read_on = f"/orders/{merchant_uid}" if merchant_uid else None
    return {"merchant_uid": merchant_uid, "reason": reason.value, "read_on": read_on}


@endpoints.add(
    "POST",
    "/payment/complete",
    "Say that a payment was made, and learn what is true of it",
    "The call of PortOne's own guide. It is recorded like a webhook, then waits until PortOne was asked. The answer is"
    " about the payment that `imp_uid` names; `merchant_uid` can only make it a refusal. Without a usable `imp_uid`"
    " (missing, empty, `null`, `undefined`) PortOne is asked for all payments of the registered order that"
    " `merchant_uid` names, and the answer is about that order.",
    id="completePayment",
    parameters=(WAIT,),
    body=Body(CompletionBody, {"paid": {"imp_uid": "imp_448280090638", "merchant_uid": "order-1"}}, strict=False),
    answers={
        200: HttpAnswer(
            "PortOne was asked; the payment is real and agrees with its order.",
            CompletedAnswer,
            {
                "paid": {"merchant_uid": "order-1", "state": "paid"},
                "deposit": {"merchant_uid": "order-1", "state": "awaiting_deposit"},
            },
            RATE_LIMIT,
        ),
        202: HttpAnswer(
            "Nothing final can be said yet. The notice is recorded and is followed up without you; read on later.",
            NotYetAnswer,
            {
                "unreadable": not_yet_example("order-1", Unsettled.ANSWER_UNREADABLE),
                "silent": not_yet_example("order-1", Unsettled.PORTONE_NOT_ANSWERING),
                "unregistered": not_yet_example(None, Unsettled.NOT_LOOKED_YET),
            },
            (RETRY_AFTER, *RATE_LIMIT),
        ),
    },
    problems=(
        *(refusal.value for refusal in CompletionRefusal),
        "unusable-notice",
        "unusable-merchant-uid",
        "too-many-calls",
        "nothing-recorded",
    ),
)
async def complete(request: web.Request) -> web.Response:
    """Answer the guide's own call: 200 once verified, 400 with the reason, 202 while nothing final can be said."""
    client, may_wait = _client(request)
    fields = await read_fields(request)
    if fields.get("merchant_uid") and order_number(fields) is None:
        raise HttpProblem(
            400, "unusable-merchant-uid", "merchant_uid must be 1 to 255 characters without control ones."
        )
    completed = await _complete(request, fields, Source.COMPLETION, _caller(request, fields, client, may_wait))
    match completed.answer:
        case Verified(state):
            return json_response({"merchant_uid": completed.merchant_uid, "state": state.value})
        case CompletionRefusal() as refusal:
            raise HttpProblem(400, refusal.value, _SENTENCES[refusal])
        case Unsettled.ORDER_NOT_REGISTERED if not names_payment(fields):
            raise UnusableNotice("it needs an imp_uid, or the merchant_uid of a registered order")
        case Unsettled() as reason:
            return not_yet(completed.merchant_uid, reason)


PREFLIGHT = HttpAnswer(
    "Nothing, but for the headers.",
    headers=(
        Header("Access-Control-Allow-Origin", "The origin, if it is one of CORS_ORIGINS.", required=False),
        Header("Access-Control-Allow-Methods", "The method that a page may use.", required=False),
        Header("Access-Control-Allow-Headers", "Those that a page may send.", required=False),
        Header("Access-Control-Max-Age", "Seconds for which a browser need not ask again.", required=False),
    ),
)


@endpoints.add(
    "OPTIONS",
    "/payment/complete",
    "Answer a browser's CORS question",
    "The CORS headers are there only for an origin in CORS_ORIGINS.",
    id="preflightCompletion",
    answers={204: PREFLIGHT},
)
async def answer_preflight(request: web.Request) -> web.Response:
    """Answer a CORS question; `cors.allow_origin` adds the headers, for the configured origins only."""
    return web.Response(status=204)


async def complete_return(request: web.Request, fields: Mapping[str, Any]) -> Completed:
    """Do what `complete` does for a browser that a payment window sent back."""
    return await _complete(request, fields, Source.REDIRECT, _caller(request, fields, *_client(request)))


def _client(request: web.Request) -> tuple[str, bool]:
    """Return the caller's client, and whether it may wait. Raises HttpProblem.

    Many buyers share a carrier's address, so a client beyond its rate is not refused: its notice is kept, and the
    answer is what is known at once. Only where all such clients together are too many are their calls shed.
    """
    receiver = request.app[RECEIVER]
    client = receiver.clients.client_address(request)
    if not take(request, "completions", receiver.limits.completions, client):
        return client, True
    if wait := receiver.limits.shed.wait_seconds("all"):
        raise HttpProblem(429, "too-many-calls", "Call again a little later.", Retry_After=str(math.ceil(wait)))
    return client, False


def wait_seconds(request: web.Request) -> float:
    """Return how long the caller will wait for PortOne's answer."""
    preferred = preferred_seconds(request)
    return request.app[RECEIVER].settings.completion_wait_seconds if preferred is None else preferred


def preferred_seconds(request: web.Request, most: float = _WAIT_MAX_SECONDS) -> float | None:
    """Return how long the caller says that it will wait (RFC 7240 §4.3)."""
    preference = _PREFER_WAIT.search(request.headers.get("Prefer", ""))
    return min(float(preference[1]), most) if preference else None


def _caller(request: web.Request, fields: Mapping[str, Any], client: str, may_wait: bool) -> Caller:
    failed = bool(fields.get("error_code")) or str(fields.get("imp_success", "")).lower() == "false"
    return Caller(client, wait_seconds(request) if may_wait else 0.0, gave_up=failed)


async def _complete(request: web.Request, fields: Mapping[str, Any], source: Source, caller: Caller) -> Completed:
    """Answer about the payment that the fields name or, without one, about the order. Raises UnusableNotice."""
    receiver, merchant_uid, began = request.app[RECEIVER], order_number(fields), time.monotonic()
    try:
        if not names_payment(fields) and merchant_uid is not None:
            return await receiver.completion.complete_order(merchant_uid, caller)
        notice = _notice(fields, source, caller)
        name_notice(request, notice)
        return await receiver.completion.complete(notice, caller)
    finally:
        receiver.metrics.completions.add(time.monotonic() - began)


def _notice(fields: Mapping[str, Any], source: Source, caller: Caller) -> Notice:
    """Make a notice. A browser claims `paid` unless it reports a failure; neither is believed (docs/portone.md §2)."""
    known = known_keys(fields)
    if not names_payment(fields):
        raise UnusableNotice("imp_uid must name a payment")
    return Notice(
        id=new_notice_id(),
        source=source,
        imp_uid=known["imp_uid"],
        merchant_uid=known.get("merchant_uid"),
        claimed_status=None if caller.gave_up else "paid",
    )


def not_yet(merchant_uid: str | None, reason: Unsettled) -> web.Response:
    """Return the answer that nothing final can be said yet, with the reason and where to read on."""
    read_on = None
    if merchant_uid and can_stand_in_address(merchant_uid):
        read_on = f"/orders/{quote(merchant_uid, safe='')}"
    return json_response(
        {"merchant_uid": merchant_uid, "reason": reason.value, "read_on": read_on},
        status=202,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
