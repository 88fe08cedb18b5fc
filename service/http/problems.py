"""Errors as RFC 9457 problem documents, each with a stable type, made in one place."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import orjson
import structlog
from aiohttp import web

from service.errors import NothingRecorded, OtherTerms, ServiceError, StoreUnavailable, UnusableNotice

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER_SECONDS = 2
_TYPE = "urn:portone-orders:problem:"


class Problem(Exception):
    """An answer that is a refusal: the sentence says what to do."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def json_response(found: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(found), status=status, content_type="application/json", headers=headers)


def problem_response(problem: Problem) -> web.Response:
    return web.Response(
        body=orjson.dumps(
            {
                "type": _TYPE + problem.kind,
                "title": HTTPStatus(problem.status).phrase,
                "status": problem.status,
                "detail": str(problem),
            }
        ),
        status=problem.status,
        content_type="application/problem+json",
        headers=problem.headers,
    )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into its problem document, and write the request's one log line."""
    began = time.perf_counter()
    try:
        response = await handler(request)
    except Exception as error:
        response = problem_response(_problem(error, request))
    route = request.match_info.route.resource
    log.info(
        "request.handled",
        method=request.method,
        route=route.canonical if route else "unknown",
        status=response.status,
        ms=round((time.perf_counter() - began) * 1000, 2),
    )
    return response


def _problem(error: Exception, request: web.Request) -> Problem:
    match error:
        case Problem():
            return error
        case OtherTerms():
            return Problem(409, "other-terms", str(error))
        case UnusableNotice():
            return Problem(400, "unusable-notice", str(error))
        case NothingRecorded() | StoreUnavailable():
            return _unavailable("nothing-recorded" if isinstance(error, NothingRecorded) else "store-away", error)
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, "body-too-large", "Send a body of at most 64 KiB.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(405, "method-not-allowed", f"Use {allowed} here.", Allow=allowed)
        case web.HTTPNotFound():
            return Problem(404, "not-found", "There is nothing at this address.")
        case web.HTTPException():
            return Problem(error.status, "bad-request", error.reason)
        case _:
            log.error("request.failed", exc_info=error, method=request.method)
            return Problem(500, "internal-error", "Something went wrong here; try again.")


def _unavailable(kind: str, error: ServiceError) -> Problem:
    return Problem(503, kind, str(error), Retry_After=str(RETRY_AFTER_SECONDS))
