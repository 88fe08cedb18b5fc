"""`GET /checkout/{merchant_uid}`: a buyer's browser reads its order's state, with the token that the shop gave it."""

import math
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from service.db.order_states import OrderState
from service.domain.order import Closed, State
from service.http.completions import PREFLIGHT, answer_preflight, preferred_seconds
from service.http.conditions import IF_NONE_MATCH, NOT_MODIFIED, ORDER_VERSION, etag, has_seen, not_modified
from service.http.endpoints import EndpointTable, HttpAnswer, Parameter
from service.http.field_types import MerchantUid, open_words
from service.http.keys import bearer
from service.http.problem_types import DATABASE_PROBLEMS
from service.http.problems import HttpProblem, json_response
from service.http.rate_headers import RATE_LIMIT, take
from service.http.receiver import RECEIVER

endpoints = EndpointTable("browsers")

_WAIT = Parameter(
    "Prefer", "header", str, "`wait=N` waits for a change for at most N seconds, and 20 at most.", example="wait=20"
)


class CheckoutStateAnswer(BaseModel):
    """The state of an order, as its buyer's page may know it."""

    merchant_uid: MerchantUid
    state: str = open_words(State, "docs/states.md describes each.")
    closed: str | None = open_words(Closed, "Whether the order takes no payment any more, and why.")
    version: int = Field(ge=1, description="One more with each change.")


@endpoints.add(
    "GET",
    "/checkout/{merchant_uid}",
    "Read the state of an order, as its buyer's page",
    "The bearer token is the order's `checkout_token`. With the ETag of an earlier answer as `If-None-Match`, 304 says"
    " that nothing has changed; with `Prefer: wait=20` too, the answer comes with the change, or as 304 at the end.",
    id="readCheckout",
    checkout_token=True,
    parameters=(IF_NONE_MATCH, _WAIT),
    answers={
        200: HttpAnswer(
            "The order's state.",
            CheckoutStateAnswer,
            {"paid": {"merchant_uid": "order-1", "state": "paid", "closed": None, "version": 2}},
            (ORDER_VERSION, *RATE_LIMIT),
        ),
        304: NOT_MODIFIED,
    },
    problems=("order-not-registered", "too-many-calls", *DATABASE_PROBLEMS),
)
async def read_state(request: web.Request) -> web.Response:
    """Answer the state, or 304 to a browser that knows it; with `Prefer: wait` once it has changed."""
    receiver = request.app[RECEIVER]
    client = receiver.clients.client_address(request)
    if wait := take(request, "checkout", receiver.limits.checkouts, client):
        raise HttpProblem(429, "too-many-calls", "Call again a little later.", Retry_After=str(math.ceil(wait)))
    merchant_uid = request.match_info["merchant_uid"]
    left = _require_token(request, merchant_uid)
    seconds = preferred_seconds(request) or 0.0
    state = await receiver.checkout.state(
        merchant_uid, lambda state: has_seen(request, state.version), min(seconds, left), client
    )
    _require_token(request, merchant_uid)  # it may have ended meanwhile
    if state is None:
        raise HttpProblem(404, "order-not-registered", "No order is registered under this merchant_uid.")
    answer = not_modified(state.version) if has_seen(request, state.version) else _answer(merchant_uid, state)
    # A state is right only now, and the page's own `If-None-Match` does what a cache would.
    answer.headers["Cache-Control"] = "no-store"
    if seconds:
        answer.headers["Preference-Applied"] = f"wait={seconds:g}"
    return answer


endpoints.add(
    "OPTIONS",
    "/checkout/{merchant_uid}",
    "Answer a browser's CORS question",
    "The CORS headers are there only for an origin in CORS_ORIGINS.",
    id="preflightCheckout",
    answers={204: PREFLIGHT},
)(answer_preflight)


def _require_token(request: web.Request, merchant_uid: str) -> float:
    """Return how many seconds the token still opens the order. Raises HttpProblem."""
    left = request.app[RECEIVER].checkout_tokens.seconds_left(bearer(request), merchant_uid)
    if left is None:
        sentence = "Send this order's checkout_token as 'Authorization: Bearer …'."
        raise HttpProblem(401, "checkout-token", sentence, WWW_Authenticate="Bearer")
    if left <= 0:
        sentence = "This checkout_token has ended: the shop gets another by registering the same order again."
        raise HttpProblem(401, "checkout-token", sentence, WWW_Authenticate='Bearer error="invalid_token"')
    return left


def _answer(merchant_uid: str, state: OrderState) -> web.Response:
    return json_response(_fields(merchant_uid, state), headers={"ETag": etag(state.version)})


def _fields(merchant_uid: str, state: OrderState) -> dict[str, Any]:
    return {
        "merchant_uid": merchant_uid,
        "state": state.state.value,
        "closed": state.closed.value if state.closed else None,
        "version": state.version,
    }
