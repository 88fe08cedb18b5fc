"""The result of a window as its page is told: the callback's object, and a redirect's query. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from sandbox.browser.windows import Opening, Result
from sandbox.payment import Fields

KST = timezone(timedelta(hours=9))
# PortOne has published no table of its codes; one of our own cannot be taken for one of PortOne's.
OUR_CODE = "SANDBOX_REFUSED"

_UNKNOWN_IS_NULL = ("custom_data", "card_name", "bank_name")
_COPIED = (
    "pay_method", "currency", "name", "pg_provider", "pg_tid", "apply_num", "buyer_name", "buyer_email", "buyer_tel",
    "buyer_addr", "buyer_postcode", "custom_data", "status", "paid_at", "receipt_url", "card_name", "bank_name",
    "card_quota", "card_number",
)  # fmt: skip
_ACCOUNT = ("vbank_num", "vbank_name", "vbank_holder")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a window, before it is put into a provider's words."""

    imp_uid: str | None
    merchant_uid: str
    fields: Fields
    """V1's payment at that moment; empty for a certification."""
    success: bool = True
    error_code: str | None = None
    error_msg: str | None = None
    says_success: bool | None = None
    """The value of `imp_success` in a redirect, where it is not the truth."""


def make_result(opening: Opening, ending: Ending) -> Result:
    """Return what the page's callback and its redirect are told."""
    address = opening.redirect_url
    return Result(callback_data(opening, ending), address and with_query(address, redirect_query(opening, ending)))


def callback_data(opening: Opening, ending: Ending) -> dict[str, Any]:
    """Return the callback's object. A success has no `error_code`, because pages test whether there is one."""
    ids = {"imp_uid": ending.imp_uid, "merchant_uid": ending.merchant_uid}
    if opening.kind == "certification":
        return {"success": ending.success, **ids, **_error(ending)}
    if opening.provider.short:
        return ids | _error(ending)
    name = "success" if opening.device == "pc" else "imp_success"
    return {name: ending.success, **ids, **_facts(ending.fields), **_error(ending)}


def redirect_query(opening: Opening, ending: Ending) -> dict[str, str]:
    """Return what a redirect adds to the page's address. All values are texts."""
    query = {"imp_uid": ending.imp_uid or "", "merchant_uid": ending.merchant_uid}
    success = ending.success if ending.says_success is None else ending.says_success
    word = str(success).lower()
    if opening.kind == "certification":
        query["success"] = word
    elif not opening.provider.short and not _is_inicis_transfer(opening):
        query["imp_success"] = word
    return query | {name: value for name, value in _error(ending).items() if value is not None}


def refusal_data(merchant_uid: str, code: str, sentence: str) -> dict[str, Any]:
    """Return the callback's object of a request for which no window was opened."""
    return {
        "success": False,
        "imp_uid": None,
        "merchant_uid": merchant_uid,
        "error_code": code,
        "error_msg": sentence,
    }


def with_query(address: str, query: dict[str, str]) -> str:
    """Add a query to an address that may have one. Values are encoded once."""
    base, mark, fragment = address.partition("#")
    joined = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    return f"{base}{'&' if '?' in base else '?'}{joined}{mark}{fragment}"


def _is_inicis_transfer(opening: Opening) -> bool:
    """Inicis' transfers say neither `success` nor `imp_success`."""
    return opening.provider.code == "html5_inicis" and opening.params.get("pay_method") == "trans"


def _error(ending: Ending) -> dict[str, Any]:
    if ending.success:
        return {}
    code = {} if ending.error_code is None else {"error_code": ending.error_code}
    return code | {"error_msg": ending.error_msg}


def _facts(fields: Fields) -> dict[str, Any]:
    """The long callback's facts, as a captured answer has them: unknown texts are empty, few are null."""
    copied = {name: fields.get(name) for name in _COPIED}
    empty = {name: "" for name, value in copied.items() if value is None and name not in _UNKNOWN_IS_NULL}
    facts = copied | empty | {"paid_amount": fields.get("amount"), "pg_type": "payment"}
    if fields.get("emb_pg_provider"):
        facts["emb_pg_provider"] = fields["emb_pg_provider"]
    if fields.get("vbank_num"):
        facts |= {name: fields[name] for name in _ACCOUNT}
        facts["vbank_date"] = datetime.fromtimestamp(fields["vbank_date"], KST).strftime("%Y-%m-%d %H:%M:%S")
    return facts
