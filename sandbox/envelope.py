"""V1's envelope around every answer: `{"code", "message", "response"}`."""

from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.errors import Refused

FAILURE_PAGE = "/payments/fail"  # a page for browsers, at PortOne's own address
UNREADABLE = "요청 본문을 읽을 수 없습니다."


class V1Refused(Exception):
    """A V1 call that fails with an HTTP status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def is_v1(request: web.BaseRequest) -> bool:
    """Say whether the call is one of PortOne's V1 API."""
    return request.path.startswith(("/users/", "/payments")) and request.path != FAILURE_PAGE


def success(response: Any, status: int = 200) -> web.Response:
    """Return an answer with code 0."""
    return _answer(status, 0, None, response)


def failure(status: int, code: int, message: str) -> web.Response:
    """Return an answer with another code than 0. Its HTTP status may be 200."""
    return _answer(status, code, message, None)


def _answer(status: int, code: int, message: str | None, response: Any) -> web.Response:
    body = orjson.dumps({"code": code, "message": message, "response": response})
    return web.Response(status=status, body=body, content_type="application/json", charset="utf-8")


@web.middleware
async def envelope_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put every V1 failure into the envelope: a refused move is HTTP 200 with code 1."""
    if not is_v1(request):
        return await handler(request)
    try:
        return await handler(request)
    except Refused as refused:
        return failure(200, 1, str(refused))
    except V1Refused as refused:
        return failure(refused.status, -1, refused.message)
    except web.HTTPException as error:
        return failure(error.status, -1, error.reason)


async def read_v1_body(request: web.Request) -> dict[str, Any]:
    """Return the members of a JSON or form-urlencoded body. V1 takes both everywhere."""
    if request.content_type.startswith(("application/x-www-form-urlencoded", "multipart/")):
        try:
            return dict(await request.post())
        except (ValueError, LookupError):
            raise V1Refused(400, UNREADABLE) from None
    raw = await request.read()
    try:
        values = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError:
        raise V1Refused(400, UNREADABLE) from None
    if not isinstance(values, dict):
        raise V1Refused(400, UNREADABLE)
    return values
