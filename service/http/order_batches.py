"""`POST /orders:batch`: register many orders in one call, each with a result of its own."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from service.db.order_views import Registered
from service.domain.ids import is_merchant_uid
from service.http import order_examples
from service.http.bodies import body_up_to
from service.http.document import ProblemAnswer
from service.http.endpoints import Body, EndpointTable, HttpAnswer
from service.http.idempotency import IDEMPOTENCY_KEY, NOT_FINAL, idempotent
from service.http.order_answers import OrderAnswer
from service.http.order_bodies import ORDERS_MAX, BatchBody, OrderBody, checked, read_order_body
from service.http.orders import register, registered_order
from service.http.problem_types import DATABASE_PROBLEMS
from service.http.problems import HttpProblem, json_response, problem_fields, problem_of
from service.http.receiver import RECEIVER, Receiver

# 500 orders of 2 KiB each.
BATCH_MAX_BYTES = 1024 * 1024
# As many as registration writes in one statement. One call's orders never fill its queue, where single orders wait.
_AT_ONCE = 40

endpoints = EndpointTable("orders")

# What became of one order of a batch.
OrderResult = Registered | HttpProblem


class _AnyOrders(BaseModel):
    """A batch whose orders are not checked yet, because each is refused alone."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    orders: Annotated[list[Any], Field(min_length=1, max_length=ORDERS_MAX)]


class BatchResultAnswer(BaseModel):
    """The result of one order of a batch: what its own call would have answered, as `order` or as `problem`."""

    merchant_uid: str | None = Field(description="The order's number, if it can be read.")
    status: int = Field(description="201, 200, or the problem's status. Send an order with 503 again.")
    order: OrderAnswer | None
    problem: ProblemAnswer | None


class BatchAnswer(BaseModel):
    """The results of a batch, in the order in which its orders were given."""

    results: list[BatchResultAnswer]


@endpoints.add(
    "POST",
    "/orders:batch",
    "Register up to 500 orders at once",
    "Each order has the result that its own call would have, and one that is refused keeps no other from being"
    " registered. Sending a batch again changes nothing. If Postgres is away from the start, the whole call is answered"
    " 503. The body may have 1024 KiB.",
    id="registerOrders",
    scope="orders:write",
    parameters=(IDEMPOTENCY_KEY,),
    body=Body(BatchBody, {"two": {"orders": [order_examples.NEW_LEAST, order_examples.NEW_MOST]}}),
    answers={
        200: HttpAnswer(
            "Every order has its result.",
            BatchAnswer,
            {"two": {"results": [order_examples.BATCH_REGISTERED, order_examples.BATCH_REFUSED]}},
        )
    },
    problems=("invalid-order", *DATABASE_PROBLEMS),
)
@body_up_to(BATCH_MAX_BYTES)
@idempotent
async def register_orders(request: web.Request) -> web.StreamResponse:
    """Register each order of a batch by itself, and answer what became of each."""
    given = (await read_order_body(request, _AnyOrders)).orders
    outcomes = await _register_all(request.app[RECEIVER], given)
    if all(map(_is_transient, outcomes)) and isinstance(outcomes[0], HttpProblem):
        raise outcomes[0]
    response = json_response(
        {"results": [_result(request.app[RECEIVER], *one) for one in zip(given, outcomes, strict=True)]}
    )
    response[NOT_FINAL] = any(isinstance(outcome, HttpProblem) and outcome.status >= 500 for outcome in outcomes)
    return response


async def _register_all(receiver: Receiver, given: Sequence[Any]) -> list[OrderResult]:
    """Register the orders, some at a time. Once nothing can be written, the rest is not tried."""
    outcomes: list[OrderResult] = []
    for start in range(0, len(given), _AT_ONCE):
        some = await asyncio.gather(*(_register(receiver, order) for order in given[start : start + _AT_ONCE]))
        outcomes += some
        if all(map(_is_transient, some)):
            return outcomes + [some[0]] * (len(given) - len(outcomes))
    return outcomes


async def _register(receiver: Receiver, given: Any) -> OrderResult:
    try:
        return await register(receiver, checked(OrderBody, given))
    except Exception as error:
        return problem_of(error)


def _is_transient(outcome: OrderResult) -> bool:
    return isinstance(outcome, HttpProblem) and outcome.status == 503


def _result(receiver: Receiver, given: Any, outcome: OrderResult) -> dict[str, Any]:
    merchant_uid = given.get("merchant_uid") if isinstance(given, dict) else None
    readable = isinstance(merchant_uid, str) and is_merchant_uid(merchant_uid)
    named = {"merchant_uid": merchant_uid if readable else None}
    if isinstance(outcome, HttpProblem):
        return named | {"status": outcome.status, "order": None, "problem": problem_fields(outcome)}
    order = registered_order(receiver, outcome)
    return named | {"status": 201 if outcome.new else 200, "order": order, "problem": None}
