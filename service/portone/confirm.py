"""Read PortOne's question to `confirm_url`: the request's fields in, a Question or UnusableNotice out. Pure."""

from collections.abc import Mapping
from typing import Any

from service.domain.confirm import Question
from service.domain.ids import is_imp_uid
from service.domain.money import exact
from service.errors import UnusableNotice
from service.portone.notice import order_number


def read_question(fields: Mapping[str, Any]) -> Question:
    """Read the question; some providers' variant names no amount. Raises UnusableNotice."""
    imp_uid, merchant_uid, amount = fields.get("imp_uid"), order_number(fields), fields.get("amount")
    if not isinstance(imp_uid, str) or not is_imp_uid(imp_uid):
        raise UnusableNotice("imp_uid must be 1 to 64 letters, digits, '_' or '-'")
    if merchant_uid is None:
        raise UnusableNotice("merchant_uid must be 1 to 255 characters without control characters")
    if amount in (None, ""):
        return Question(imp_uid, merchant_uid, None)
    if (decimal := exact(amount)) is None:
        raise UnusableNotice("amount must be a number")
    return Question(imp_uid, merchant_uid, decimal)
