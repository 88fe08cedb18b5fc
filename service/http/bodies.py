"""Read a request's body, bounded in size and in time."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from service.http.problems import HttpProblem
from service.portone.notice import parse_body

BODY_MAX_BYTES = 64 * 1024
_READ_SECONDS = 5.0


async def read_body(request: web.BaseRequest) -> bytes:
    """Read the whole body. Raises 413 above 64 KiB, and 408 when it does not end within 5 s."""
    try:
        if request.content.is_eof():  # it came with its head
            return _whole(request)
        async with asyncio.timeout(_READ_SECONDS):
            return await request.read()
    except (web.RequestPayloadError, ConnectionError):  # a sender that goes away reads no answer
        raise HttpProblem(400, "unreadable-body", "The body is not encoded as its headers say.") from None
    except TimeoutError:
        raise HttpProblem(
            408, "body-not-finished", "Send the whole body within 5 seconds.", Connection="close"
        ) from None


def _whole(request: web.BaseRequest) -> bytes:
    """Return what `request.read()` would, for a body that is all there, without its coroutines and copies."""
    body = request.content.read_nowait()
    if len(body) > BODY_MAX_BYTES:
        raise web.HTTPRequestEntityTooLarge(BODY_MAX_BYTES)
    return body


async def read_fields(request: web.BaseRequest) -> Mapping[str, Any]:
    """Read a notice's fields, JSON or form. Raises UnusableNotice."""
    return parse_body(await read_body(request))
