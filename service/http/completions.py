"""`POST /payment/complete` and `GET /payment-redirect`, by which a browser says that it has paid."""

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from service.domain.completion import CompletionRefusal, Unsettled, Verified
from service.domain.notice import Notice, Source
from service.http.bodies import read_fields
from service.http.client_address import client_address
from service.http.problems import RETRY_AFTER_SECONDS, HttpProblem, json_response
from service.http.receiver import RECEIVER
from service.notice_ids import new_notice_id
from service.portone.notice import known_keys
from service.usecases.completion import Completed

_WAIT_MAX_SECONDS = 20.0
_PREFER_WAIT = re.compile(r"\bwait\s*=\s*\"?(\d{1,6})\b")

_SENTENCES = {
    CompletionRefusal.WRONG_AMOUNT: "The amount that was paid is not the order's.",
    CompletionRefusal.WRONG_CURRENCY: "The currency that was paid is not the order's.",
    CompletionRefusal.WRONG_STORE: "The payment was made in another store than the order's.",
    CompletionRefusal.TEST_CHANNEL: "The payment was made on a test channel, so no money moved.",
    CompletionRefusal.OTHER_ORDER: "The payment is not for this order.",
    CompletionRefusal.PAYMENT_FAILED: "The payment failed; start another one.",
    CompletionRefusal.PAYMENT_UNKNOWN: "PortOne knows no such payment.",
}


async def complete(request: web.Request) -> web.Response:
    """Answer the guide's own call: 200 once verified, 400 with the reason, 202 while nothing final can be said."""
    _limit(request)
    notice = _notice(await read_fields(request), Source.COMPLETION)
    completed = await _complete(request, notice)
    match completed.answer:
        case Verified(state):
            return json_response({"merchant_uid": completed.merchant_uid, "state": state.value})
        case CompletionRefusal() as refusal:
            raise HttpProblem(400, refusal.value, _SENTENCES[refusal])
        case Unsettled() as reason:
            return _not_yet(completed.merchant_uid, reason)


async def redirect(request: web.Request) -> web.Response:
    """Do what `complete` does for a mobile browser, then send it on to the shop's page with the state."""
    receiver = request.app[RECEIVER]
    if not receiver.settings.return_url:
        raise HttpProblem(404, "no-return-page", "Set RETURN_URL to the shop's page where a redirected payment ends.")
    _limit(request)
    completed = await _complete(request, _notice(request.query, Source.REDIRECT))
    return web.Response(status=303, headers={"Location": _return_url(receiver.settings.return_url, completed)})


async def answer_preflight(request: web.Request) -> web.Response:
    """Answer a CORS question; `cors.allow_origin` adds the headers, for the configured origins only."""
    return web.Response(status=204)


def _limit(request: web.Request) -> None:
    receiver = request.app[RECEIVER]
    if wait := receiver.completion_limits.wait_seconds(client_address(request, receiver.trusted_proxies)):
        raise HttpProblem(429, "too-many-calls", "Call again a little later.", Retry_After=str(math.ceil(wait)))


def _notice(fields: Mapping[str, Any], source: Source) -> Notice:
    """Make a notice. A browser claims `paid` unless it reports a failure; neither is believed (docs/portone.md §2)."""
    known = known_keys(fields)
    if fields.get("merchant_uid") and "merchant_uid" not in known:
        raise HttpProblem(
            400, "unusable-merchant-uid", "merchant_uid must be 1 to 255 characters without control ones."
        )
    failed = fields.get("error_code") or str(fields.get("imp_success", "")).lower() == "false"
    return Notice(
        id=new_notice_id(),
        source=source,
        imp_uid=known["imp_uid"],
        merchant_uid=known.get("merchant_uid"),
        claimed_status=None if failed else "paid",
    )


async def _complete(request: web.Request, notice: Notice) -> Completed:
    receiver = request.app[RECEIVER]
    preference = _PREFER_WAIT.search(request.headers.get("Prefer", ""))
    wait_seconds = float(preference[1]) if preference else receiver.settings.completion_wait_seconds
    return await receiver.completion.complete(notice, min(wait_seconds, _WAIT_MAX_SECONDS))


def _not_yet(merchant_uid: str | None, reason: Unsettled) -> web.Response:
    read_on = f"/orders/{quote(merchant_uid, safe='')}" if merchant_uid else None
    return json_response(
        {"merchant_uid": merchant_uid, "reason": reason.value, "read_on": read_on},
        status=202,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _return_url(page: str, completed: Completed) -> str:
    query = {"merchant_uid": completed.merchant_uid or ""}
    match completed.answer:
        case Verified(state):
            query["state"] = state.value
        case CompletionRefusal() as refusal:
            query |= {"state": "failed", "reason": refusal.value}
        case Unsettled() as reason:
            query |= {"state": "pending", "reason": reason.value}
    parts = urlsplit(page)
    return parts._replace(query="&".join(filter(None, (parts.query, urlencode(query))))).geturl()
