"""Spoil answers to V1 calls as the fault switches say: late, wrong, cut off or none."""

import asyncio
import socket
import struct

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.envelope import failure, is_v1
from sandbox.faults import FaultDesk
from sandbox.world import WORLD

BAD_GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: the peer gets RST, not FIN


@web.middleware
async def inject_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Spoil the answer when a switch says so."""
    if not is_v1(request):
        return await handler(request)
    desk = request.app[WORLD].faults
    kind = desk.take_api_answer(request.path)
    after = desk.now.api_when == "after" or kind in (None, "half_body")
    await asyncio.sleep(desk.now.latency_seconds)
    answer = await handler(request) if after else None
    if kind is None and answer is not None:
        return answer
    return await _spoiled(request, desk, kind, answer)


async def _spoiled(
    request: web.Request, desk: FaultDesk, kind: str | None, answer: web.StreamResponse | None
) -> web.StreamResponse:
    match kind:
        case "401":
            return failure(401, -1, "Unauthorized")
        case "429":
            return failure(429, -1, "Too Many Requests")
        case "500" | "503":
            return failure(int(kind), -1, "일시적인 오류가 발생했습니다.")
        case "502":
            return web.Response(status=502, text=BAD_GATEWAY_PAGE, content_type="text/html")
        case "garbage":
            return web.Response(text='{"code": 0, "response": {"imp_uid": imp_', content_type="application/json")
        case "wrong_shape":
            return web.json_response({"code": 0, "message": None, "response": "paid"})
        case "half_body":
            return await _half_of(request, answer)
        case "hang":
            await desk.hang()
            return _reset(request)
        case _:
            return _reset(request)


async def _half_of(request: web.Request, answer: web.StreamResponse | None) -> web.StreamResponse:
    """Announce the whole body's length, send half of it and close the connection."""
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b"{}"
    half = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


def _reset(request: web.Request) -> web.StreamResponse:
    """Answer nothing and reset the connection."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        request.transport.abort()
    return web.Response()
