"""CORS: the pages of the configured origins may read the completion call's answers."""

from aiohttp import web

from service.http.receiver import RECEIVER

_PATH = "/payment/complete"


def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let the configured origins read the completion call's answers, errors too. Call it before the answer is sent."""
    origin = request.headers.get("Origin")
    if origin is None or request.path != _PATH or origin not in request.app[RECEIVER].settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "POST"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type, Prefer"
        response.headers["Access-Control-Max-Age"] = "600"
