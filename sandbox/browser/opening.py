"""Open a window: read what the page asked for, make the payment in `ready`, or refuse as PortOne does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson

from sandbox.addresses import AddressPolicy
from sandbox.browser.outcome_names import WindowOutcome
from sandbox.browser.providers import PROVIDERS, find_provider
from sandbox.browser.results import KST, OUR_CODE, refusal_data
from sandbox.browser.windows import Opening, Window
from sandbox.config import DEFAULT_ACCOUNT
from sandbox.errors import AlreadyPaid, BadInput, NotANumber, OtherAmountPrepared
from sandbox.ledger import Terms
from sandbox.money import fits, read_amount
from sandbox.payment import LONGEST_MERCHANT_UID, Owner
from sandbox.world import World

ALREADY_PAID = ("F1002", "이미 결제가 이루어진 거래건입니다.")
OTHER_AMOUNT = "사전에 등록된 결제금액과 요청한 금액이 일치하지 않습니다."
UNKNOWN_STORE = "등록되지 않은 고객사 식별코드 또는 채널키입니다."
BAD_MERCHANT_UID = f"merchant_uid는 1자 이상 {LONGEST_MERCHANT_UID}자 이하의 문자열이어야 합니다."
BAD_AMOUNT = "amount는 0보다 큰 숫자여야 합니다."
BAD_CURRENCY = "currency는 KRW, USD와 같은 세 글자 코드여야 합니다."
BAD_URL = "{}을(를) 호출할 수 없습니다: {}"
BUYER_FIELDS = ("name", "buyer_name", "buyer_email", "buyer_tel", "buyer_addr", "buyer_postcode", "customer_uid")
VBANK_DUE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?: ?(\d{2}):?(\d{2}):?(\d{2})?)?", re.ASCII)
MOST_TEXT = 1000


class NotOpened(Exception):
    """No window opens; `data` is what the page's callback gets."""

    def __init__(self, data: dict[str, Any], redirect_url: str | None = None) -> None:
        super().__init__(data)
        self.data, self.redirect_url = data, redirect_url


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """A page's request, as the SDK's frame passes it on."""

    user_code: object
    tier: str | None
    kind: str
    provider: str
    device: str
    mode: str
    page_url: str
    page_origin: str
    outcome: WindowOutcome | None
    params: dict[str, Any]

    @property
    def merchant_uid(self) -> str:
        """The page's order number as text; no parameter is checked by the SDK."""
        value = self.params.get("merchant_uid")
        return "" if value is None else str(value)


def open_window(world: World, request: WindowRequest) -> Window:
    """Open a window, with its payment in `ready`. Raises NotOpened."""
    redirect_url = read_redirect_url(request)
    try:
        owner = _owner(world, request)
        opening = _opening(world.addresses, request, redirect_url)
        if request.kind == "certification":
            return world.windows.add(world.ledger.new_imp_uid(), request.merchant_uid, opening)
        payment = world.ledger.open(_terms(world.addresses, request, owner, opening))
    except AlreadyPaid:
        raise NotOpened(refusal_data(request.merchant_uid, *ALREADY_PAID), redirect_url) from None
    except OtherAmountPrepared:
        raise NotOpened(refusal_data(request.merchant_uid, OUR_CODE, OTHER_AMOUNT), redirect_url) from None
    except BadInput as bad:
        raise NotOpened(refusal_data(request.merchant_uid, OUR_CODE, str(bad)), redirect_url) from None
    return world.windows.add(payment.imp_uid, payment.merchant_uid, opening, payment)


def read_redirect_url(request: WindowRequest) -> str | None:
    """Return the page's `m_redirect_url` in full, or None where there is no usable one."""
    given = request.params.get("m_redirect_url")
    if not isinstance(given, str) or not given:
        return None
    try:
        address = urljoin(request.page_url, given)
        parts = urlsplit(address)
    except ValueError:
        return None
    control = re.search(r"[\x00-\x20\x7f]", address)
    return address if parts.scheme in ("http", "https") and parts.hostname and not control else None


def _owner(world: World, request: WindowRequest) -> Owner:
    """The account by its user code. The guide's placeholder, or any other, is the default unless told to be strict."""
    account = world.config.account_with(request.user_code)
    if account is None and world.config.strict:
        raise BadInput(UNKNOWN_STORE)
    return Owner(account or DEFAULT_ACCOUNT, request.tier or None)


def _opening(addresses: AddressPolicy, request: WindowRequest, redirect_url: str | None) -> Opening:
    if request.params.get("channelKey") and not request.provider:
        raise BadInput(UNKNOWN_STORE)
    provider = find_provider(request.kind, request.provider) or PROVIDERS[request.kind][0]
    confirm_url = _text(request.params, "confirm_url")
    if confirm_url is not None:
        _check_address(addresses, "confirm_url", confirm_url)
    return Opening(
        kind=request.kind,
        provider=provider,
        params=request.params,
        device=request.device,
        mode=request.mode,
        page_origin=request.page_origin,
        redirect_url=redirect_url,
        confirm_url=confirm_url,
        outcome=request.outcome,
    )


def _terms(addresses: AddressPolicy, request: WindowRequest, owner: Owner, opening: Opening) -> Terms:
    params, merchant_uid = request.params, request.merchant_uid
    if not 1 <= len(merchant_uid) <= LONGEST_MERCHANT_UID:
        raise BadInput(BAD_MERCHANT_UID)
    currency = _currency(params)
    pay_method = _text(params, "pay_method") or "card"
    return Terms(
        merchant_uid=merchant_uid,
        amount=_amount(params, currency),
        currency=currency,
        tier=owner.tier,
        pay_method="samsung" if pay_method == "samsungpay" else pay_method,
        notice_urls=_notice_urls(addresses, params),
        fields=_fields(params, request, opening),
        account=owner.account,
    )


def _fields(params: Mapping[str, Any], request: WindowRequest, opening: Opening) -> dict[str, Any]:
    given = {name: text for name in BUYER_FIELDS if (text := _text(params, name)) is not None}
    provider = opening.provider.code
    return given | {
        "pg_provider": provider,
        "channel": request.device,
        "escrow": params.get("escrow") is True,
        "custom_data": _custom_data(params.get("custom_data")),
        "customer_uid_usage": "issue" if given.get("customer_uid") else None,
        **({"emb_pg_provider": provider} if opening.provider.simple else {}),
        **{name: params[name] for name in ("tax_free", "vat_amount") if _is_number(params.get(name))},
    }


def read_vbank_due(params: Mapping[str, Any]) -> int | None:
    """Return when a virtual account must be paid by, in unix seconds. A day without an hour is its end in Korea."""
    match = VBANK_DUE.fullmatch(str(params.get("vbank_due") or ""))
    if match is None:
        return None
    day = "".join(match.group(1, 2, 3))
    time_of_day = "".join(part or "00" for part in match.group(4, 5, 6)) if match[4] else "235959"
    try:
        due = datetime.strptime(day + time_of_day, "%Y%m%d%H%M%S").replace(tzinfo=KST)
    except ValueError:
        return None
    return int(due.timestamp())


def _amount(params: Mapping[str, Any], currency: str) -> Decimal:
    try:
        amount = read_amount(params.get("amount"))
    except NotANumber:
        raise BadInput(BAD_AMOUNT) from None
    if amount <= 0 or not fits(amount, currency):
        raise BadInput(BAD_AMOUNT)
    return amount


def _currency(params: Mapping[str, Any]) -> str:
    currency = _text(params, "currency") or "KRW"
    if not re.fullmatch("[A-Z]{3}", currency, re.ASCII):
        raise BadInput(BAD_CURRENCY)
    return currency


def _notice_urls(addresses: AddressPolicy, params: Mapping[str, Any]) -> tuple[str, ...]:
    given = params.get("notice_url")
    urls = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    urls = [url for url in urls if isinstance(url, str) and url]
    for url in urls:
        _check_address(addresses, "notice_url", url)
    return tuple(urls)


def _check_address(addresses: AddressPolicy, name: str, url: str) -> None:
    refusal = addresses.refusal(url)
    if refusal is not None:
        raise BadInput(BAD_URL.format(name, refusal))


def _custom_data(value: object) -> str | None:
    """PortOne keeps it as a JSON text, whatever it was."""
    return None if value is None else orjson.dumps(value).decode()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(params: Mapping[str, Any], name: str) -> str | None:
    value = params.get(name)
    return None if value is None or value == "" else str(value)[:MOST_TEXT]
