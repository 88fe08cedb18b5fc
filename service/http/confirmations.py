"""`POST /payments/confirm`, PortOne's `confirm_url`: 200 lets the payment go on; `reason` becomes its fail_reason."""

import asyncio
from typing import Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from service.domain.confirm import ConfirmationRefusal
from service.errors import UnusableNotice
from service.http.bodies import read_fields
from service.http.endpoints import Body, EndpointTable, HttpAnswer
from service.http.field_types import ImpUid, open_words
from service.http.problem_types import TYPE
from service.http.problems import HttpProblem
from service.http.receiver import RECEIVER
from service.portone.confirm import read_question
from service.portone.senders import SENDERS

_READ_SECONDS = 0.3

# PortOne takes anything but 200 for a refusal. 424: what the answer depends on failed.
_STATUS = {
    ConfirmationRefusal.NOT_PAYABLE: 409,
    ConfirmationRefusal.OUT_OF_STOCK: 409,
    ConfirmationRefusal.UNSURE: 424,
}

# The buyer reads these.
_REASONS = {
    "ko": {
        ConfirmationRefusal.NOT_PAYABLE: "결제할 수 없는 주문입니다.",
        ConfirmationRefusal.OUT_OF_STOCK: "재고가 부족합니다.",
        ConfirmationRefusal.UNSURE: "주문을 확인할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    },
    "en": {
        ConfirmationRefusal.NOT_PAYABLE: "This order cannot be paid.",
        ConfirmationRefusal.OUT_OF_STOCK: "The goods are out of stock.",
        ConfirmationRefusal.UNSURE: "The order cannot be checked now. Please try again shortly.",
    },
}
_UNREADABLE = {"ko": "요청을 읽을 수 없습니다.", "en": "The request cannot be read."}
_TOO_MANY = {
    "ko": "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.",
    "en": "Too many calls. Please try again shortly.",
}

endpoints = EndpointTable("notices")


class QuestionBody(BaseModel):
    """PortOne's question. Further keys are tolerated. Where the amount is missing, the rest is judged."""

    model_config = ConfigDict(extra="allow")

    imp_uid: ImpUid
    merchant_uid: str | int
    amount: float | str | None = Field(None, description="V1's decimal, in the order's currency.")


class NotConfirmedAnswer(BaseModel):
    """A refusal, as PortOne reads it."""

    type: str = open_words(
        (TYPE + kind for kind in (*ConfirmationRefusal, "unreadable", "too-many-calls")), "Each refuses."
    )
    status: int = Field(ge=400, le=499)
    reason: str = Field(description="For the buyer, in CONFIRM_LANGUAGE, or the shop's stock hook's own words.")


def _refusal(status: int, description: str, **reasons: str) -> HttpAnswer:
    examples = {
        kind.replace("_", "-"): {"type": TYPE + kind.replace("_", "-"), "status": status, "reason": reason}
        for kind, reason in reasons.items()
    }
    return HttpAnswer(description, NotConfirmedAnswer, examples)


@endpoints.add(
    "POST",
    "/payments/confirm",
    "Say whether a payment may be made",
    "PortOne's `confirm_url`: asked just before it approves a payment. 200 lets the payment go on; after anything else"
    " it fails, and `reason` is shown to the buyer. It is not the only gate: a browser can leave it out.",
    id="confirmPayment",
    body=Body(
        QuestionBody,
        {"won": {"imp_uid": "imp_448280090638", "merchant_uid": "order-1", "amount": 64900}},
        strict=False,
        problems=(),
    ),
    answers={
        200: HttpAnswer("It may.", Literal["OK"], media_type="text/plain"),
        400: _refusal(400, "The question cannot be read.", unreadable=_UNREADABLE["ko"]),
        409: _refusal(
            409,
            "The order may not be paid, or not so. Anybody may ask, so the answer does not say why.",
            not_payable=_REASONS["ko"][ConfirmationRefusal.NOT_PAYABLE],
            out_of_stock=_REASONS["ko"][ConfirmationRefusal.OUT_OF_STOCK],
        ),
        424: _refusal(
            424,
            "Postgres or the stock hook cannot be asked, and CONFIRM_WHEN_UNSURE says `refuse`.",
            unsure=_REASONS["ko"][ConfirmationRefusal.UNSURE],
        ),
        429: _refusal(429, "Too many questions.", too_many_calls=_TOO_MANY["ko"]),
    },
)
async def confirm(request: web.Request) -> web.Response:
    """Answer within 2 s, whatever is away. PortOne waits for as little as 5."""
    receiver = request.app[RECEIVER]
    language = receiver.settings.confirm_language
    client = receiver.clients.client_address(request)
    from_portone = client in SENDERS
    if not from_portone and receiver.limits.confirmations.wait_seconds(client):
        return _refuse(429, "too-many-calls", _TOO_MANY[language])
    try:
        async with asyncio.timeout(_READ_SECONDS):
            question = read_question(await read_fields(request))
    except (UnusableNotice, HttpProblem, TimeoutError, web.HTTPRequestEntityTooLarge):
        return _refuse(400, "unreadable", _UNREADABLE[language])
    # By order and address, so that a stranger who asks about an order does not use up PortOne's questions about it.
    if receiver.limits.questions.wait_seconds(f"{client} {question.merchant_uid}"):
        return _refuse(429, "too-many-calls", _TOO_MANY[language])
    refused = await receiver.confirmation.confirm(question, from_portone=from_portone)
    if refused is None:
        return web.Response(body=b"OK", content_type="text/plain")
    return _refuse(_STATUS[refused.kind], refused.kind.value, refused.sentence or _REASONS[language][refused.kind])


def _refuse(status: int, kind: str, reason: str) -> web.Response:
    """Answer a refusal as plain JSON, because PortOne reads `reason`; the rest is as in our problem documents."""
    refusal = {"type": TYPE + kind, "status": status, "reason": reason}
    body = orjson.dumps(refusal, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
