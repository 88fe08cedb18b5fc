"""PortOne V1's token, and its calls that change something."""

from decimal import Decimal
from typing import Any

from aiohttp import web

from sandbox import refunds
from sandbox.envelope import V1Refused, read_v1_body, success
from sandbox.errors import NotANumber, Refused, UnknownPayment
from sandbox.ledger import Prepared
from sandbox.money import decimals_of, fits, read_amount, to_wire
from sandbox.payment import LONGEST_MERCHANT_UID, Owner, Payment
from sandbox.refunds import Refund
from sandbox.v1_reads import BAD_PARAMETER, asker_of, shown
from sandbox.world import WORLD, World

MISSING_KEYS = "imp_key, imp_secret 파라메터가 누락되었습니다."
WRONG_KEYS = "인증에 실패하였습니다. API키와 secret을 확인하세요."
ALREADY_PREPARED = "이미 등록된 merchant_uid입니다."
NOT_PREPARED = "사전등록된 결제정보가 존재하지 않습니다."
REFUND_ACCOUNT = ("refund_holder", "refund_bank", "refund_account")


async def get_token(request: web.Request) -> web.Response:
    """`POST /users/getToken`: answers the account's one token, the same for all callers while it lives."""
    body = await read_v1_body(request)
    imp_key, imp_secret = body.get("imp_key"), body.get("imp_secret")
    if not (isinstance(imp_key, str) and imp_key and isinstance(imp_secret, str) and imp_secret):
        raise V1Refused(400, MISSING_KEYS)
    desk = request.app[WORLD].tokens.with_key(imp_key)
    token = desk.issue(imp_key, imp_secret) if desk else None
    if desk is None or token is None:
        raise V1Refused(401, WRONG_KEYS)
    answer = {"access_token": token.access_token, "expired_at": token.expired_at, "now": desk.now()}
    return success(answer)


async def prepare(request: web.Request) -> web.Response:
    """`POST /payments/prepare`: registers an amount once; the second time is HTTP 200 with code 1."""
    merchant_uid, terms = await _read_terms(request)
    ledger, owner = request.app[WORLD].ledger, asker_of(request)
    if ledger.prepared_for(owner, merchant_uid) is not None:
        raise Refused(ALREADY_PREPARED)
    ledger.prepare(owner, merchant_uid, terms)
    return _prepared(merchant_uid, terms)


async def change_prepared(request: web.Request) -> web.Response:
    """`PUT /payments/prepare`: changes an amount that is registered."""
    merchant_uid, terms = await _read_terms(request)
    ledger, owner = request.app[WORLD].ledger, asker_of(request)
    if ledger.prepared_for(owner, merchant_uid) is None:
        raise V1Refused(404, NOT_PREPARED)
    ledger.prepare(owner, merchant_uid, terms)
    return _prepared(merchant_uid, terms)


async def read_prepared(request: web.Request) -> web.Response:
    """`GET /payments/prepare/{merchant_uid}`: answers the amount that is registered."""
    merchant_uid = request.match_info["merchant_uid"]
    terms = request.app[WORLD].ledger.prepared_for(asker_of(request), merchant_uid)
    if terms is None:
        raise V1Refused(404, NOT_PREPARED)
    return _prepared(merchant_uid, terms)


async def cancel(request: web.Request) -> web.Response:
    """`POST /payments/cancel`: gives money back and answers the payment; sends a webhook only if asked."""
    world = request.app[WORLD]
    body = await read_v1_body(request)
    refund = _refund_asked_for(body)
    payment = _payment_to_cancel(world, asker_of(request), body)
    changes = len(payment.changes)
    world.ledger.cancel(payment, refund)
    if refund.webhook and len(payment.changes) > changes:
        world.sender.announce_soon(payment)
    return success(shown(world, payment.fields))


def _payment_to_cancel(world: World, asker: Owner, body: dict[str, Any]) -> Payment:
    """Return the payment of the imp_uid, else the merchant_uid's latest payment that can give money back."""
    imp_uid, merchant_uid = body.get("imp_uid"), body.get("merchant_uid")
    if not (imp_uid or merchant_uid):
        raise V1Refused(400, BAD_PARAMETER.format("imp_uid, merchant_uid"))
    try:
        named = [world.ledger.payment(str(imp_uid))] if imp_uid else world.ledger.attempts(str(merchant_uid))
    except UnknownPayment:
        named = []
    own = [payment for payment in named if payment.owner == asker]
    if not own:
        raise Refused(refunds.NOTHING_TO_CANCEL)
    return max(own, key=lambda payment: (_can_give_back(payment), payment.changes[0].number))


def _can_give_back(payment: Payment) -> bool:
    return payment.status in ("paid", "cancelled") and refunds.refundable(payment) > 0


def _refund_asked_for(body: dict[str, Any]) -> Refund:
    reason = body.get("reason")
    return Refund(
        amount=_number(body, "amount"),
        checksum=_number(body, "checksum"),
        reason=str(reason) if reason is not None else None,
        webhook=str(body.get("enable_webhook", "")).lower() == "true",
        has_refund_account=all(body.get(name) for name in REFUND_ACCOUNT),
    )


async def _read_terms(request: web.Request) -> tuple[str, Prepared]:
    body = await read_v1_body(request)
    merchant_uid, amount = body.get("merchant_uid"), _number(body, "amount")
    if not isinstance(merchant_uid, str) or not 1 <= len(merchant_uid) <= LONGEST_MERCHANT_UID:
        raise V1Refused(400, BAD_PARAMETER.format("merchant_uid"))
    if amount is None or amount < 0 or not fits(amount, "USD"):
        raise V1Refused(400, BAD_PARAMETER.format("amount"))
    currency = body.get("currency") or None
    if currency is not None and not (isinstance(currency, str) and len(currency) == 3):
        raise V1Refused(400, BAD_PARAMETER.format("currency"))
    return merchant_uid, Prepared(amount, currency)


def _number(body: dict[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    try:
        return read_amount(value)
    except NotANumber:
        raise V1Refused(400, BAD_PARAMETER.format(name)) from None


def _prepared(merchant_uid: str, terms: Prepared) -> web.Response:
    """Answer what is registered. PortOne shows no currency with it: a whole amount is written as an integer."""
    whole = terms.amount == round(terms.amount, decimals_of("KRW"))
    return success({"merchant_uid": merchant_uid, "amount": to_wire(terms.amount, "KRW" if whole else "USD")})
