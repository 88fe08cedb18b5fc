"""PortOne V1's addresses, who may call them, and how often they were called."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox import v1_reads, v1_writes
from sandbox.envelope import failure, is_v1
from sandbox.journal_calls import record_call
from sandbox.v1_reads import UNAUTHORIZED, batch_ids
from sandbox.world import WORLD

TOKEN_PATH = "/users/getToken"  # noqa: S105 - an address

ORDER = "{merchant_uid:[^/]+}"  # any character: aiohttp's own default would refuse braces
STATUS = "{status:[^/]*}"  # may be left out behind its slash, as npm's iamporter does

ROUTES = [
    web.post(TOKEN_PATH, v1_writes.get_token),
    web.get("/payments", v1_reads.get_payments),
    web.get("/payments/{imp_uid:[^/]+}", v1_reads.get_payment),
    web.get(f"/payments/find/{ORDER}", v1_reads.find_payment),
    web.get(f"/payments/find/{ORDER}/{STATUS}", v1_reads.find_payment),
    web.get(f"/payments/findAll/{ORDER}", v1_reads.find_all_payments),
    web.get(f"/payments/findAll/{ORDER}/{STATUS}", v1_reads.find_all_payments),
    web.get("/payments/status/{status}", v1_reads.list_payments),
    web.post("/payments/prepare", v1_writes.prepare),
    web.put("/payments/prepare", v1_writes.change_prepared),
    web.get(f"/payments/prepare/{ORDER}", v1_writes.read_prepared),
    web.post("/payments/cancel", v1_writes.cancel),
]


@web.middleware
async def count_calls(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count every V1 call, also those that a fault switch answers."""
    if not is_v1(request):
        return await handler(request)
    calls = request.app[WORLD].calls
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else "unknown"
    imp_uid = request.match_info.get("imp_uid")
    calls.begin(f"{request.method} {path}", [imp_uid] if imp_uid else batch_ids(request)[0])
    began = time.monotonic()
    try:
        answer = await handler(request)
    finally:
        calls.end()
    record_call(request.app[WORLD], request, answer, time.monotonic() - began)
    return answer


@web.middleware
async def require_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a V1 call without the live token, bare or as Bearer; only getToken needs none."""
    if not is_v1(request) or request.path == TOKEN_PATH:
        return await handler(request)
    if request.app[WORLD].tokens.account_of(request.headers.get("Authorization", "")) is None:
        return failure(401, -1, UNAUTHORIZED)
    return await handler(request)
