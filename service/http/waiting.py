"""Reads that wait: `Prefer: wait=30` (RFC 7240 §4.3) with If-None-Match answers at the order's next change."""

from aiohttp import web

from service.db.order_views import OrderView
from service.http.ages import age_headers, age_max_seconds
from service.http.completions import preferred_seconds
from service.http.conditions import has_seen
from service.http.endpoints import Parameter
from service.http.keys import key_of, while_allowed
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

    Returns the order, and the headers that say how old it may be, or how long it would have waited. Whoever has a
    version is answered by the primary, which alone has it for certain.
    """
    reading = request.app[RECEIVER].reading
    if "If-None-Match" not in request.headers:
        dated = await reading.read_recent(merchant_uid, age_max_seconds(request, 0.0))
        return dated.value, age_headers(dated.age_seconds)
    seconds = preferred_seconds(request, _WAIT_MAX_SECONDS)
    if not seconds:
        return await reading.read(merchant_uid), {}
    async with while_allowed(request):
        view = await reading.read_unless(
            merchant_uid, lambda view: has_seen(request, view.order.version), seconds, key_of(request).digest
        )
    return view, {"Preference-Applied": f"wait={seconds:.0f}"}
