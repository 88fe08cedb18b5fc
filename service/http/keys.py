"""Service keys: other services may read orders, each with a bearer key."""

import hmac

from aiohttp import web

from service.http.endpoints import Handler
from service.http.problems import HttpProblem
from service.http.receiver import RECEIVER


def with_key(handler: Handler) -> Handler:
    """Return the handler, which only a caller with a service key reaches."""

    async def checked(request: web.Request) -> web.StreamResponse:
        _require_key(request)
        return await handler(request)

    return checked


def bearer(request: web.Request) -> bytes:
    """Return the bearer token of a request, or nothing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def _require_key(request: web.Request) -> None:
    """Compare in constant time, with every key; without a configured key nobody gets in."""
    given = bearer(request)
    keys = [key.get_secret_value().encode() for key in request.app[RECEIVER].settings.service_keys]
    if not sum(hmac.compare_digest(given, key) for key in keys):  # `any` would stop at the first
        raise HttpProblem(
            401, "service-key", "Send one of SERVICE_KEYS as 'Authorization: Bearer …'.", WWW_Authenticate="Bearer"
        )
