"""Turn errors into RFC 9457 problem documents, each with a stable type."""

import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from service.errors import (
    DepositAwaited,
    FeedHeldBack,
    KeyEnded,
    KeyReused,
    MoneyCame,
    NotAcceptable,
    NothingRecorded,
    OrderArchived,
    OrderClosed,
    OrderNotRegistered,
    OtherTerms,
    Overloaded,
    PortOneNotAsked,
    PostgresUnavailable,
    ServiceError,
    UnfitPooler,
    UnknownCursor,
    UnusableNotice,
    VersionMoved,
)
from service.http.cors import allow_origin
from service.http.endpoints import Handler
from service.http.faults import log_fault
from service.http.log_names import names_of
from service.http.problem_types import TYPE
from service.http.rate_headers import tell_limit
from service.http.receiver import RECEIVER, Receiver

RETRY_AFTER_SECONDS = 2
FAULT = "Something went wrong here; try again."

# A terminal's prompt begins on a line of its own after curl.
_NEWLINE = orjson.OPT_APPEND_NEWLINE

# Errors that a caller can correct.
_REFUSALS: dict[type[ServiceError], tuple[int, str]] = {
    KeyReused: (422, "idempotency-key-reused"),
    OtherTerms: (409, "other-terms"),
    OrderArchived: (410, "order-archived"),
    OrderNotRegistered: (404, "order-not-registered"),
    VersionMoved: (412, "version-moved"),
    OrderClosed: (409, "order-closed"),
    MoneyCame: (409, "money-came"),
    DepositAwaited: (409, "deposit-awaited"),
    NotAcceptable: (409, "not-acceptable"),
    UnusableNotice: (400, "unusable-notice"),
    UnknownCursor: (400, "unknown-cursor"),
}
# What passes by itself or by an operator's work, the more special kind first.
_PASSING: tuple[tuple[type[ServiceError], str], ...] = (
    (NothingRecorded, "nothing-recorded"),
    (UnfitPooler, "pooler-unfit"),
    (PostgresUnavailable, "postgres-away"),
    (PortOneNotAsked, "portone-not-asked"),
    (FeedHeldBack, "feed-held-back"),
    (Overloaded, "overloaded"),
)


class HttpProblem(Exception):
    """A refusal; its sentence says what to do."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps(content, option=_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def problem_fields(problem: HttpProblem) -> dict[str, Any]:
    """Return the fields of a problem document."""
    return {
        "type": TYPE + problem.kind,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": str(problem),
    }


def problem_response(problem: HttpProblem) -> web.Response:
    return web.Response(
        body=orjson.dumps(problem_fields(problem), option=_NEWLINE),
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.headers,
    )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer as `answered` does, on any route."""
    receiver, route = request.app[RECEIVER], request.match_info.route.resource
    response = await answered(receiver, request, route.canonical if route else "unknown", handler(request))
    # aiohttp's signal for these would take 5 % of the receiver's CPU.
    allow_origin(request, response)
    tell_limit(request, response)
    return response


async def answered(
    receiver: Receiver, request: web.BaseRequest, route: str, answer: Awaitable[web.StreamResponse]
) -> web.StreamResponse:
    """Turn every error into its problem document, and write the request's one log line."""
    began = time.perf_counter()
    try:
        response = await answer
    except Exception as error:
        response = problem_response(problem_of(error))
    receiver.metrics.count_request(response.status)
    receiver.lines.info(
        "request.handled",
        method=request.method,
        route=route,
        status=response.status,
        ms=round((time.perf_counter() - began) * 1000, 2),
        **names_of(request),
    )
    return response


def problem_of(error: Exception) -> HttpProblem:
    """Return the problem to answer an error with; log one that is a fault of ours."""
    match error:
        case HttpProblem():
            return error
        case ServiceError() if type(error) in _REFUSALS:
            return HttpProblem(*_REFUSALS[type(error)], str(error))
        case ServiceError() if kinds := [kind for passing, kind in _PASSING if isinstance(error, passing)]:
            return HttpProblem(503, kinds[0], str(error), Retry_After=str(RETRY_AFTER_SECONDS))
        case KeyEnded():
            return HttpProblem(401, "service-key", str(error), WWW_Authenticate='Bearer error="invalid_token"')
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return HttpProblem(405, "method-not-allowed", f"Use {allowed} here.", Allow=allowed)
        case web.HTTPNotFound():
            return HttpProblem(404, "not-found", "There is nothing at this address.")
        case web.HTTPException():
            return HttpProblem(error.status, "bad-request", error.reason)
        case _:
            log_fault("request.failed", error)
            return HttpProblem(500, "internal-error", FAULT)
