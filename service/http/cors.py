"""CORS: the pages of the configured origins may read the answers to what a browser calls."""

from aiohttp import web

from service.http.receiver import RECEIVER

_COMPLETION = "/payment/complete"
_CHECKOUT = "/checkout/"
# What a page may read of an answer's head, beside what it always may.
_EXPOSED = "ETag, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After"
_ALLOWED = {
    _COMPLETION: {"Methods": "POST", "Headers": "Content-Type, Prefer"},
    _CHECKOUT: {"Methods": "GET", "Headers": "Authorization, If-None-Match, Prefer"},
}


def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let the configured origins read the answers, errors too. Call it before the answer is sent."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    path = _CHECKOUT if request.path.startswith(_CHECKOUT) else request.path
    if path not in _ALLOWED or origin not in request.app[RECEIVER].settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin"
    if request.method != "OPTIONS":
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return
    for name, value in _ALLOWED[path].items():
        response.headers[f"Access-Control-Allow-{name}"] = value
    response.headers["Access-Control-Max-Age"] = "600"
