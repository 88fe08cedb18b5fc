"""Parse a notice: bytes in, its known keys out, each bounded; or UnusableNotice. Pure (docs/portone.md §2)."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from service.domain.ids import is_imp_uid, is_merchant_uid, is_plain
from service.errors import UnusableNotice

_FIELDS_MAX = 100
# Any other status claims nothing that we know. Kept, each would be a notice of its own, as many as a stranger invents.
_STATUSES = frozenset({"ready", "paid", "failed", "cancelled"})
_TEXT_MAX = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_body(body: bytes) -> Mapping[str, Any]:
    """Read JSON or form-urlencoded, whichever it is, because the console chooses and senders mislabel.

    A byte order mark, blanks around the body, and bytes that are no UTF-8 in a key that nobody reads harm nothing:
    PortOne repeats no webhook that it was refused (docs/portone.md §4.25). Raises UnusableNotice.
    """
    text = body.removeprefix(_BYTE_ORDER_MARK).strip()
    try:
        fields = _parse_json(text) if text[:1] in (b"{", b"[") else _parse_form(text)
    except (ValueError, RecursionError):
        raise UnusableNotice("the body is neither JSON nor a form") from None
    if not isinstance(fields, dict):
        raise UnusableNotice("the body is not an object")
    return fields


def _parse_json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        # Bytes that are no UTF-8 become lone surrogates, which no usable value has.
        return json.loads(text.decode("utf-8", "surrogateescape"))


def _parse_form(text: bytes) -> dict[str, str]:
    decoded = text.decode("utf-8", "surrogateescape")
    return dict(parse_qsl(decoded, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="surrogateescape"))


def known_keys(fields: Mapping[str, Any]) -> dict[str, str]:
    """Keep the known keys whose values have a known shape. Raises UnusableNotice when there is no usable imp_uid."""
    imp_uid = fields.get("imp_uid")
    if not isinstance(imp_uid, str) or not is_imp_uid(imp_uid):
        raise UnusableNotice("imp_uid must be 1 to 64 letters, digits, '_' or '-'")
    kept = {"imp_uid": imp_uid}
    if (merchant_uid := order_number(fields)) is not None:
        kept["merchant_uid"] = merchant_uid
    status, cancellation_id = fields.get("status"), fields.get("cancellation_id")
    if isinstance(status, str) and status in _STATUSES:
        kept["status"] = status
    if isinstance(cancellation_id, str) and 0 < len(cancellation_id) <= _TEXT_MAX and is_plain(cancellation_id):
        kept["cancellation_id"] = cancellation_id
    return kept


def order_number(fields: Mapping[str, Any]) -> str | None:
    """Return a usable merchant_uid, or None. A sender whose order numbers are whole numbers may send one as such."""
    merchant_uid = fields.get("merchant_uid")
    if type(merchant_uid) is int:  # and no bool
        merchant_uid = str(merchant_uid)
    return merchant_uid if isinstance(merchant_uid, str) and is_merchant_uid(merchant_uid) else None


def names_payment(fields: Mapping[str, Any]) -> bool:
    """Say whether a browser's fields name a payment. A script that had no imp_uid may say so in these words."""
    imp_uid = fields.get("imp_uid")
    return isinstance(imp_uid, str) and is_imp_uid(imp_uid) and imp_uid not in ("null", "undefined")
