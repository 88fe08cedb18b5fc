"""`POST /payments/confirm`, PortOne's `confirm_url`: 200 lets the payment go on; `reason` becomes its fail_reason."""

import asyncio

import orjson
from aiohttp import web

from service.domain.confirm import ConfirmationRefusal
from service.errors import UnusableNotice
from service.http.bodies import read_fields
from service.http.problems import TYPE, HttpProblem
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


async def confirm(request: web.Request) -> web.Response:
    """Answer within 2 s, whatever is away. PortOne waits for as little as 5."""
    receiver = request.app[RECEIVER]
    language = receiver.settings.confirm_language
    client = receiver.clients.client_address(request)
    from_portone = client in SENDERS
    if not from_portone and receiver.confirmation_limits.wait_seconds(client):
        return _refuse(429, "too-many-calls", _TOO_MANY[language])
    try:
        async with asyncio.timeout(_READ_SECONDS):
            question = read_question(await read_fields(request))
    except (UnusableNotice, HttpProblem, TimeoutError, web.HTTPRequestEntityTooLarge):
        return _refuse(400, "unreadable", _UNREADABLE[language])
    # By order and address, so that a stranger who asks about an order does not use up PortOne's questions about it.
    if receiver.question_limits.wait_seconds(f"{client} {question.merchant_uid}"):
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
