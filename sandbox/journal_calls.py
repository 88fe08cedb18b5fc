"""Record the V1 calls that read or move a watched order's payments, with what PortOne answered."""

from typing import Any

import orjson
from aiohttp import web

from sandbox.journal import Evidence
from sandbox.world import World

# What decides about an order, of the many fields that V1 answers.
SHOWN_FIELDS = (
    "imp_uid", "merchant_uid", "status", "amount", "currency", "cancel_amount", "sandbox", "pay_method", "paid_at",
    "fail_reason", "vbank_num", "vbank_name", "vbank_date",
)  # fmt: skip

_KINDS = {"/payments/cancel": "portone.cancel", "/payments/prepare": "portone.prepare"}
_LIST = "/payments/status/"


def record_call(world: World, request: web.Request, answer: web.StreamResponse, seconds: float) -> None:
    """Record the call once for each watched order that it names or that its answer holds."""
    if not world.journal.watches_any:
        return
    status, members = answer.status, _members(answer)
    by_order: dict[str, list[Evidence]] = {order: [] for order in _named(world, request)}
    for member in members:
        if isinstance(order := member.get("merchant_uid"), str):
            by_order.setdefault(order, []).append({name: member[name] for name in SHOWN_FIELDS if name in member})
    kind = _kind(request.path)
    call = {"call": f"{request.method} {request.path_qs}", "answer_status": status, "seconds": round(seconds, 6)}
    for order, payments in by_order.items():
        if kind != "portone.list" or _is_news(world, order, payments):
            world.journal.record(order, kind, call | {"payments": payments}, at=world.clock() - seconds)


def _kind(path: str) -> str:
    if path.startswith(_LIST):
        return "portone.list"
    return next((kind for start, kind in _KINDS.items() if path.startswith(start)), "portone.look")


def _is_news(world: World, order: str, payments: list[Evidence]) -> bool:
    """Tell whether the list says anything of this order that it did not say before: a scan comes every few seconds."""
    said = [event.evidence["payments"] for event in world.journal.events(order) if event.kind == "portone.list"]
    return payments not in said


def _named(world: World, request: web.Request) -> set[str]:
    """The orders whose payments the address names, whatever is answered."""
    imp_uids = [*filter(None, [request.match_info.get("imp_uid")]), *request.query.getall("imp_uid[]", [])]
    orders = [*filter(None, [request.match_info.get("merchant_uid")]), *request.query.getall("merchant_uid[]", [])]
    return {*orders, *(payment.merchant_uid for payment in world.ledger.known(imp_uids))}


def _members(answer: web.StreamResponse) -> list[dict[str, Any]]:
    """The payments in an answer, or what else has a merchant_uid in it."""
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return []
    try:
        envelope = orjson.loads(answer.body)
    except orjson.JSONDecodeError:  # a fault switch's garbage
        return []
    response = envelope.get("response") if isinstance(envelope, dict) else None
    if isinstance(response, dict) and isinstance(response.get("list"), list):
        response = response["list"]
    found = response if isinstance(response, list) else [response]
    return [member for member in found if isinstance(member, dict)]
