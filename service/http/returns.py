"""`GET /payment-redirect`, where a mobile browser lands after paying. Whatever it brings, it ends at the shop's page.

A buyer never meets a machine's error (docs/design.md §2.12).
"""

import re
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from multidict import MultiMapping

from service.domain.completion import CompletionRefusal, Unsettled, Verified
from service.http.completions import complete_return
from service.http.endpoints import EndpointTable, Header, HttpAnswer, Parameter
from service.http.problems import FAULT, HttpProblem, problem_of, problem_response
from service.http.receiver import RECEIVER
from service.portone.notice import names_payment, order_number
from service.usecases.completion import Completed

RETURNS = "/payment-redirect"
_RETURN = re.compile(rb"(GET|HEAD) /+payment-redirect[/?# ]")

_KEYS = ("imp_uid", "merchant_uid", "error_code", "imp_success")
_PAGE = """<!doctype html>
<html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>결제 확인</title>
<p>결제 결과를 확인하고 있습니다. 쇼핑몰에서 주문 상태를 확인해 주세요.</p>
<p lang="en">Your payment is being checked. Please look at your order in the shop.</p>
</html>
"""

endpoints = EndpointTable("browsers")

_NOT_BELIEVED = "Not believed; PortOne is asked all the same."


@endpoints.add(
    "GET",
    RETURNS,
    "Where a mobile browser lands after paying",
    "Give this address as `m_redirect_url`. It does what the completion call does, then sends the browser on to"
    " RETURN_URL with `merchant_uid`, `state` and, unless the payment is good, `reason`. `state` is an order state or"
    " `failed` or `pending`: it is for the page to show; ask the order before you send goods.\n\nA buyer never meets an"
    " error here. Whatever the query holds, and whatever is away, the browser is sent on; `reason` is then a problem's"
    " kind, such as `unusable-notice` or `too-many-calls`. Without a usable `imp_uid` (missing, empty, `null`,"
    " `undefined`) PortOne is asked for all payments of the order.",
    id="redirectPayment",
    parameters=(
        Parameter("imp_uid", "query", str, example="imp_448280090638"),
        Parameter("merchant_uid", "query", str, example="order-1"),
        Parameter("error_code", "query", str, _NOT_BELIEVED),
        Parameter("error_msg", "query", str, "Not read."),
        Parameter("imp_success", "query", str, _NOT_BELIEVED),
    ),
    answers={
        200: HttpAnswer("RETURN_URL is not set, so the buyer is shown a page.", str, media_type="text/html"),
        303: HttpAnswer(
            "On to the shop's page.",
            headers=(
                Header(
                    "Location",
                    "RETURN_URL, with the state.",
                    example="https://shop.example/done?merchant_uid=order-1&state=paid",
                ),
            ),
        ),
    },
)
async def redirect(request: web.Request) -> web.Response:
    """Do what the completion call does, then send the browser on to the shop's page with the state."""
    fields = _fields(request.query)
    merchant_uid = order_number(fields)
    try:
        completed = await complete_return(request, fields)
        merchant_uid, state = completed.merchant_uid, _state(completed)
    except Exception as error:
        state = {"state": "pending", "reason": problem_of(error).kind}
    return to_shop(request.app[RECEIVER].settings.return_url, merchant_uid, state)


def to_shop(return_url: str, merchant_uid: str | None, state: dict[str, str]) -> web.Response:
    """Send a browser on to the shop's page or, where none is configured, show it a page of ours."""
    if not return_url:
        return web.Response(text=_PAGE, content_type="text/html")
    query = urlencode({"merchant_uid": merchant_uid or "", **state})
    parts = urlsplit(return_url)
    location = parts._replace(query="&".join(filter(None, (parts.query, query)))).geturl()
    return web.Response(status=303, headers={"Location": location})


def answer_failure(return_url: str, status: int, start: bytes) -> web.Response:
    """Answer a request that could not be parsed, or failed outside the handlers, given its first bytes."""
    kind, sentence = ("internal-error", FAULT) if status >= 500 else ("bad-request", "Send a well-formed HTTP request.")
    if _RETURN.match(start):
        return to_shop(return_url, None, {"state": "pending", "reason": kind})
    return problem_response(HttpProblem(status, kind, sentence))


def _fields(query: MultiMapping[str]) -> dict[str, str]:
    """Return the known keys. Of a key that came more than once, the first usable value counts."""
    fields = {key: values[0] for key in _KEYS if (values := query.getall(key, []))}
    usable: tuple[tuple[str, Callable[[dict[str, str]], object]], ...] = (
        ("imp_uid", names_payment),
        ("merchant_uid", order_number),
    )
    for key, accept in usable:
        for value in query.getall(key, []):
            if accept({key: value}):
                fields[key] = value
                break
    return fields


def _state(completed: Completed) -> dict[str, str]:
    match completed.answer:
        case Verified(state):
            return {"state": state.value}
        case CompletionRefusal() as refusal:
            return {"state": "failed", "reason": refusal.value}
        case Unsettled() as reason:
            return {"state": "pending", "reason": reason.value}
