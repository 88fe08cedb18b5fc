"""The control API's answers: JSON, and one sentence where something is wrong."""

import ipaddress
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.errors import BadInput, Refused, UnknownPayment

CONTROL_PREFIX = "/_control"


def answer(content: dict[str, Any], status: int = 200) -> web.Response:
    """An answer of the control API."""
    body = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(status=status, body=body, content_type="application/json")


def complaint(status: int, sentence: str) -> web.Response:
    """What is wrong with the request."""
    return answer({"error": sentence}, status)


@web.middleware
async def control_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep strangers out of the control API, and answer every mistake with one sentence."""
    if not request.path.startswith(CONTROL_PREFIX):
        return await handler(request)
    if not _is_loopback(request):
        return complaint(403, "The control API answers this machine only.")
    try:
        return await handler(request)
    except BadInput as bad:
        return complaint(400, str(bad))
    except UnknownPayment as unknown:
        return complaint(404, str(unknown))
    except Refused as refused:
        return complaint(409, str(refused))
    except web.HTTPException as error:
        return complaint(error.status, f"{error.reason}: {request.method} {request.path}")


def _is_loopback(request: web.Request) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(peer, tuple):
        return False
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
