"""The answers of the control API and of the browser's addresses, and who may ask for them."""

import ipaddress
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.addresses import AddressPolicy, is_loopback
from sandbox.errors import BadInput, Refused, UnknownPayment

CONTROL_PREFIX = "/_control"
BROWSER_PREFIXES = ("/v1/", "/shop")
# Scripts are for pages of every origin, under PortOne's own host name too, where a browser maps it to this machine.
OPEN_TO_ALL = ("/v1/iamport.js", "/v1/iamport.esm.js")
READING = ("GET", "HEAD")
POLICY: web.AppKey[AddressPolicy] = web.AppKey("address_policy", AddressPolicy)


def answer(content: dict[str, Any], status: int = 200) -> web.Response:
    """Answer JSON."""
    body = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(status=status, body=body, content_type="application/json")


def complaint(status: int, sentence: str) -> web.Response:
    """Answer what is wrong with the request."""
    return answer({"error": sentence}, status)


@web.middleware
async def guard_our_own(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep other machines and foreign web pages out, and answer every mistake with one sentence."""
    is_control = request.path.startswith(CONTROL_PREFIX)
    if not is_control and (not request.path.startswith(BROWSER_PREFIXES) or request.path in OPEN_TO_ALL):
        return await handler(request)
    refusal = _refusal(request, is_control=is_control)
    if refusal is not None:
        return refusal
    try:
        return await handler(request)
    except BadInput as bad:
        return complaint(400, str(bad))
    except UnknownPayment as unknown:
        return complaint(404, str(unknown))
    except Refused as refused:
        return complaint(409, str(refused))
    except web.HTTPRedirection:
        raise
    except web.HTTPException as error:
        return complaint(error.status, f"{error.reason}: {request.method} {request.path}")


def _refusal(request: web.Request, *, is_control: bool) -> web.Response | None:
    """Say why this request is refused, or return None.

    A foreign page can make a browser send anything that a form can send, with the page's Origin. It can also let its
    own name resolve to this machine, and is then of the same origin for the browser, but under a Host that is not ours.
    """
    if is_control and not _is_from_this_machine(request):
        return complaint(403, "The control API answers this machine only.")
    if not request.app[POLICY].answers_to(request.host, loopback_only=is_control):
        sentence = f"{request.host} is not a name of this sandbox; --allow-host makes it one."
        return complaint(403, sentence)
    if request.headers.get("Origin", f"{request.scheme}://{request.host}") != f"{request.scheme}://{request.host}":
        return complaint(403, "Pages of another origin may not do this.")
    if request.method not in READING and request.content_type != "application/json":
        return complaint(415, "Send JSON, with Content-Type: application/json.")
    return None


def _is_from_this_machine(request: web.Request) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return isinstance(peer, tuple) and is_loopback(ipaddress.ip_address(str(peer[0]).partition("%")[0]))
