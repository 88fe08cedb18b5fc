"""Service keys: other services may call, each with a bearer key that has the scope of what it asks for."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiohttp import web

from service.domain.service_key import Scope, ServiceKey
from service.http.connection import while_connected
from service.http.endpoints import Handler
from service.http.log_names import name_order
from service.http.problems import HttpProblem
from service.http.receiver import RECEIVER

_KEY = web.RequestKey("service_key", ServiceKey)


def with_key(handler: Handler, scope: Scope) -> Handler:
    """Return the handler, which only a caller reaches whose service key has this scope."""

    async def checked(request: web.Request) -> web.StreamResponse:
        request[_KEY] = await _find_key(request, scope)
        if merchant_uid := request.match_info.get("merchant_uid"):
            name_order(request, merchant_uid)
        return await handler(request)

    return checked


def key_of(request: web.Request) -> ServiceKey:
    """Return the key that let the caller in. Raises KeyError where the endpoint declares no scope."""
    return request[_KEY]


@contextlib.asynccontextmanager
async def while_allowed(request: web.Request) -> AsyncIterator[None]:
    """Cancel the block, which only waits, when the caller is gone or its key ends. Raises KeyEnded."""
    with while_connected(request):
        async with request.app[RECEIVER].service_keys.while_good(key_of(request)):
            yield


def bearer(request: web.Request) -> bytes:
    """Return the bearer token of a request, or nothing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


async def _find_key(request: web.Request, scope: Scope) -> ServiceKey:
    """Return the caller's key, which has this scope. Without any key nobody gets in. Raises HttpProblem."""
    given = bearer(request)
    if not given:
        raise _refused("Send a service key as 'Authorization: Bearer …'.", "Bearer")
    key = await request.app[RECEIVER].service_keys.find(given)
    if key is None:
        raise _refused("This is no service key, or it was revoked.", 'Bearer error="invalid_token"')
    if key.is_expired(datetime.now(UTC)):
        raise _refused("This service key has expired: use another one.", 'Bearer error="invalid_token"')
    if scope not in key.scopes:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        raise HttpProblem(
            403, "missing-scope", f"This service key lacks the scope {scope}.", WWW_Authenticate=challenge
        )
    return key


def _refused(sentence: str, challenge: str) -> HttpProblem:
    return HttpProblem(401, "service-key", sentence, WWW_Authenticate=challenge)
