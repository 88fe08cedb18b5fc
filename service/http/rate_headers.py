"""The fields RateLimit-Policy and RateLimit, which tell a client its limit and what is left of it.

Their form is that of draft-ietf-httpapi-ratelimit-headers-11 of May 2026: a policy's name, its quota `q` in a window of
`w` seconds; and what remains, `r`, for the next `t` seconds.
"""

import math

from aiohttp import web

from service.http.endpoints import Header
from service.rate_limits import Limiter

RATE_LIMIT = (
    Header(
        "RateLimit-Policy",
        "The limit's name, its quota `q`, and its window of `w` seconds.",
        example='"checkout";q=200;w=1',
    ),
    Header("RateLimit", "How many calls are left, `r`, for the next `t` seconds.", example='"checkout";r=199;t=1'),
)

_LIMIT = web.RequestKey("rate_limit", tuple[str, Limiter, str])


def take(request: web.Request, name: str, limiter: Limiter, client: str) -> float:
    """Take a token for the request, and have its answer tell the limit. Return 0, or the seconds until there is one."""
    request[_LIMIT] = (name, limiter, client)
    return limiter.wait_seconds(client)


def tell_limit(request: web.Request, response: web.StreamResponse) -> None:
    """Add the fields to the answer of a request that was limited. Call it before the answer is sent."""
    limit = request.get(_LIMIT)
    if limit is None:
        return
    name, limiter, client = limit
    left, seconds = limiter.standing(client)
    response.headers["RateLimit-Policy"] = f'"{name}";{_quota(limiter.client_rate)}'
    response.headers["RateLimit"] = f'"{name}";r={left};t={seconds}'


def _quota(rate: float) -> str:
    """Return the rate in whole numbers, which are all that the draft has."""
    return f"q={int(rate)};w=1" if rate >= 1 else f"q=1;w={math.ceil(1 / rate)}"
