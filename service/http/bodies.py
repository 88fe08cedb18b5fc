"""Read a request's body, bounded in size and in time."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from service.http.endpoints import Handler
from service.http.problems import HttpProblem
from service.portone.notice import parse_body

BODY_MAX_BYTES = 64 * 1024
_READ_SECONDS = 5.0


async def read_body(request: web.BaseRequest) -> bytes:
    """Read the whole body. Raises 413 above its bound, 64 KiB as a rule, and 408 when it does not end within 5 s."""
    content = request.content
    if content.is_eof() and not content.at_eof():  # it came with its head, and nobody has read it
        return _whole(request)
    return await read_kept_body(request)


async def read_kept_body(request: web.BaseRequest) -> bytes:
    """Do what `read_body` does, so that the body can be read again."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(request) from None
    except (web.RequestPayloadError, ConnectionError):  # a sender that goes away reads no answer
        raise _unreadable() from None
    except TimeoutError:
        raise HttpProblem(
            408, "body-not-finished", "Send the whole body within 5 seconds.", Connection="close"
        ) from None


def body_up_to(max_bytes: int) -> Callable[[Handler], Handler]:
    """Let a handler read longer bodies than 64 KiB, up to this many bytes."""

    def allowed(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(request.clone(client_max_size=max_bytes))

        return handle

    return allowed


def _whole(request: web.BaseRequest) -> bytes:
    """Return what `request.read()` would, for a body that is all there, without its coroutines and copies."""
    try:
        body = request.content.read_nowait()
    except (web.RequestPayloadError, ConnectionError):
        raise _unreadable() from None
    if len(body) > request.client_max_size:
        raise _too_large(request)
    return body


def _unreadable() -> HttpProblem:
    return HttpProblem(400, "unreadable-body", "The body is not encoded as its headers say.")


def _too_large(request: web.BaseRequest) -> HttpProblem:
    return HttpProblem(413, "body-too-large", f"Send a body of at most {request.client_max_size // 1024} KiB.")


async def read_fields(request: web.BaseRequest) -> Mapping[str, Any]:
    """Read a notice's fields, JSON or form. Raises UnusableNotice."""
    return parse_body(await read_body(request))
