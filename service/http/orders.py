"""`POST /orders` and `GET /orders/{merchant_uid}`: for the shop's own services, with a service key."""

import hmac
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from service.db.orders import NewOrder, StoredOrder
from service.domain.ids import is_merchant_uid, is_plain
from service.domain.money import MAX_AMOUNT, is_known
from service.domain.order import Order
from service.domain.payment import Payment, Store
from service.http.bodies import read_body
from service.http.problems import Problem, json_response
from service.http.receiver import RECEIVER
from service.registration import find, register

_METADATA_MAX_BYTES = 4096
_EXPIRES_WITHIN = timedelta(days=366)


def _merchant_uid(text: str) -> str:
    if not is_merchant_uid(text):
        raise ValueError("must be 1 to 40 characters without control characters")
    return text


def _currency(text: str) -> str:
    if not is_known(text):
        raise ValueError("must be an ISO 4217 code in capitals, such as KRW")
    return text


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError("must be free of control characters")
    return text


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    dumped = orjson.dumps(metadata)
    if len(dumped) > _METADATA_MAX_BYTES or b"\\u0000" in dumped:
        raise ValueError(f"must be at most {_METADATA_MAX_BYTES} bytes as JSON, without NUL characters")
    return metadata


def _soon(at: datetime) -> datetime:
    if not timedelta() < at - datetime.now(UTC) < _EXPIRES_WITHIN:
        raise ValueError("must be a time within the next 366 days")
    return at


class OrderBody(BaseModel):
    """What the shop sends. `amount` is an integer in the currency's smallest unit."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    merchant_uid: Annotated[str, AfterValidator(_merchant_uid)]
    amount: int = Field(ge=1, le=MAX_AMOUNT)
    currency: Annotated[str, AfterValidator(_currency)] = "KRW"
    name: Annotated[str, Field(max_length=200), AfterValidator(_plain)] | None = None
    tier: str | None = None
    expires_at: Annotated[AwareDatetime, Field(strict=False), AfterValidator(_soon)] | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] | None = None


async def register_order(request: web.Request) -> web.Response:
    """201 when new, 200 when the same is registered already, 409 when it is with other terms."""
    _require_key(request)
    receiver = request.app[RECEIVER]
    if request.content_type != "application/json":
        raise Problem(415, "not-json", "Send the order as application/json.")
    body = _parse(await read_body(request))
    if body.tier is not None and body.tier not in receiver.settings.portone_tiers:
        raise Problem(400, "unknown-tier", "This tier is not configured: add it to PORTONE_TIERS.")
    terms = Order(
        body.merchant_uid,
        body.amount,
        body.currency,
        Store("default", body.tier or ""),
        receiver.settings.allow_test_channel,
    )
    registered = await register(
        receiver.pool, NewOrder(terms, body.name, body.metadata, body.expires_at), receiver.times
    )
    return json_response(_shown(registered.order), status=201 if registered.new else 200)


async def read_order(request: web.Request) -> web.Response:
    """What other services may rely on."""
    _require_key(request)
    merchant_uid = request.match_info["merchant_uid"]
    found = await find(request.app[RECEIVER].pool, merchant_uid) if is_merchant_uid(merchant_uid) else None
    if found is None:
        raise Problem(404, "order-not-registered", "No order is registered under this merchant_uid.")
    order, payment = found
    return json_response(_shown(order) | {"payment": _shown_payment(payment) if payment else None})


def _require_key(request: web.Request) -> None:
    """Compare in constant time, with every key; without a configured key nobody gets in."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
    keys = [key.get_secret_value().encode() for key in request.app[RECEIVER].settings.service_keys]
    if not sum(hmac.compare_digest(given, key) for key in keys):  # `any` would stop at the first
        raise Problem(
            401, "service-key", "Send one of SERVICE_KEYS as 'Authorization: Bearer …'.", WWW_Authenticate="Bearer"
        )


def _parse(body: bytes) -> OrderBody:
    try:
        found = orjson.loads(body)
    except ValueError:
        raise Problem(400, "malformed-json", "The body is not JSON in UTF-8.") from None
    try:
        return OrderBody.model_validate(found)
    except ValidationError as error:
        wrong = "; ".join(_sentence(detail) for detail in error.errors(include_input=False, include_url=False))
        raise Problem(400, "invalid-order", f"Correct these fields: {wrong}.") from None


def _sentence(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"] if is_plain(str(part)))[:80]
    return f"{where or 'the body'}: {detail['msg'].removeprefix('Value error, ')}"


def _shown(order: StoredOrder) -> dict[str, Any]:
    terms, settled = order.terms, order.settlement
    return {
        "merchant_uid": terms.merchant_uid,
        "state": settled.state.value,
        "version": order.version,
        "amount": terms.amount,
        "currency": terms.currency,
        "paid_amount": settled.paid_amount,
        "cancelled_amount": settled.cancelled_amount,
        "imp_uid": settled.imp_uid,
        "problems": [{"kind": problem.kind.value, "imp_uid": problem.imp_uid} for problem in settled.problems],
        "name": order.name,
        "tier": terms.store.tier or None,
        "metadata": order.metadata,
        "expires_at": order.expires_at,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
    }


def _shown_payment(payment: Payment) -> dict[str, Any]:
    return {
        "imp_uid": payment.imp_uid,
        "status": payment.status.value,
        "amount": payment.amount,
        "currency": payment.currency,
        "cancelled_amount": payment.cancelled_amount,
        "paid_at": payment.paid_at,
        "details": dict(payment.details),
    }
