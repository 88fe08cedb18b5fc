"""Conditional requests (RFC 9110 §13.1): an order's ETag is its version, in quotes."""

import re

from aiohttp import web

from service.http.endpoints import Header, HttpAnswer, Parameter
from service.http.problems import HttpProblem

# A list of entity tags; empty elements between commas are legal. Only a strong tag can match If-Match.
_TAG = re.compile(r'(W/)?"([^"]*)"')
_TAGS = re.compile(r'[\s,]*((W/)?"[^"]*"(\s*,[\s,]*|$))+')
_VERSION = re.compile(r"[1-9]\d{0,8}")

ORDER_VERSION = Header(
    "ETag",
    "The order's version, in quotes. Send it back as If-Match or If-None-Match.",
    pattern='^"[0-9]+"$',
    example='"1"',
)
IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    str,
    "ETags of earlier answers, or `*`.",
    example='"1"',
    problems=("malformed-if-none-match",),
)
NOT_MODIFIED = HttpAnswer("The order still has a version that If-None-Match names.", headers=(ORDER_VERSION,))


def etag(version: int) -> str:
    """Return the entity tag of an order's version."""
    return f'"{version}"'


def versions_to_match(request: web.Request, *, required: bool) -> frozenset[int] | None:
    """Return the versions that If-Match lets pass. None: any. Raises HttpProblem."""
    tags = _header(request, "If-Match")
    if not tags and required:
        raise HttpProblem(428, "if-match-required", "Send the ETag that the order was read with as If-Match.")
    if tags in ("", "*"):
        return None
    if not _TAGS.fullmatch(tags):
        raise HttpProblem(400, "malformed-if-match", "Send If-Match as the order's ETag, quotes included.")
    return _versions(tags, weak=False)


def has_seen(request: web.Request, version: int) -> bool:
    """Return whether If-None-Match names this version, so that the answer is 304. Raises HttpProblem.

    The comparison is the weak one: a proxy that compresses answers may have made our tags weak.
    """
    tags = _header(request, "If-None-Match")
    if tags in ("", "*"):
        return tags == "*"
    if not _TAGS.fullmatch(tags):
        raise HttpProblem(400, "malformed-if-none-match", "Send If-None-Match as the order's ETag, quotes included.")
    return version in _versions(tags, weak=True)


def not_modified(version: int) -> web.Response:
    """Return the answer to a reader who has this version."""
    return web.Response(status=304, headers={"ETag": etag(version)})


def _header(request: web.Request, name: str) -> str:
    return ",".join(request.headers.getall(name, ())).strip()


def _versions(tags: str, *, weak: bool) -> frozenset[int]:
    texts = [text for prefix, text in _TAG.findall(tags) if weak or not prefix]
    return frozenset(int(text) for text in texts if _VERSION.fullmatch(text))
