"""Reads that wait: `Prefer: wait=30` (RFC 7240 §4.3) with If-None-Match answers at the order's next change."""

from aiohttp import web

from service.db.order_views import OrderView
from service.http.completions import PREFER_WAIT
from service.http.conditions import has_seen
from service.http.connection import while_connected
from service.http.endpoints import Parameter
from service.http.receiver import RECEIVER

_WAIT_MAX_SECONDS = 60
WAIT_FOR_CHANGE = Parameter(
    "Prefer",
    "header",
    str,
    "`wait=N` beside If-None-Match answers at the order's next change, or 304 after N seconds; 60 at most.",
    example="wait=30",
    problems=("overloaded",),
)


async def read_or_wait(request: web.Request, merchant_uid: str) -> tuple[OrderView | None, dict[str, str]]:
    """Read an order; if the caller has its version and will wait, read it at its next change or at the end.

    Returns the order and the headers that say how long it would have waited.
    """
    reading = request.app[RECEIVER].reading
    preference = PREFER_WAIT.search(request.headers.get("Prefer", ""))
    seconds = min(int(preference[1]), _WAIT_MAX_SECONDS) if preference and "If-None-Match" in request.headers else 0
    if not seconds:
        return await reading.read(merchant_uid), {}
    with while_connected(request):
        view = await reading.read_unless(merchant_uid, lambda view: has_seen(request, view.order.version), seconds)
    return view, {"Preference-Applied": f"wait={seconds}"}
