"""The types of fields in requests and answers: how each is checked, and how the OpenAPI document describes it."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue, WithJsonSchema

from service.domain.ids import (
    ACCOUNT_MAX,
    IMP_UID_MAX,
    MERCHANT_UID_MAX,
    TIER_LENGTH,
    can_stand_in_address,
    is_account,
    is_imp_uid,
    is_merchant_uid,
    is_plain,
    is_tier,
)
from service.domain.money import MAX_AMOUNT, is_known

_METADATA_MAX_BYTES = 4096
_EXPIRES_WITHIN = timedelta(days=366)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
# A `+` that was not percent-encoded is read as a space; no time has one there.
_SPACED_ZONE = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")
# As `is_plain` has it: no control characters. JSON in UTF-8 has no lone surrogates.
_PLAIN = r"^[^\u0000-\u001f\u007f-\u009f]*$"


def open_words(words: Iterable[str], description: str) -> Any:
    """Describe a field of an answer that has one of several words, of which there may be more some day."""
    listed: list[JsonValue] = [str(word) for word in words]
    return Field(description=f"{description} The list may grow.", json_schema_extra={"x-extensible-enum": listed})


def one_of(words: Iterable[str]) -> WithJsonSchema:
    """Describe a parameter that must be one of these words."""
    return WithJsonSchema({"type": "string", "enum": [str(word) for word in words]})


def _merchant_uid(text: str) -> str:
    if not is_merchant_uid(text):
        raise ValueError("must be 1 to 255 characters without control characters")
    return text


def _new_merchant_uid(text: str) -> str:
    if not can_stand_in_address(text):
        raise ValueError("must not be `.` or `..`, because no address could name the order")
    return text


def _imp_uid(text: str) -> str:
    if not is_imp_uid(text):
        raise ValueError("must be a payment's imp_uid")
    return text


def _currency(text: str) -> str:
    if not is_known(text):
        raise ValueError("must be an ISO 4217 code in capitals, such as KRW")
    return text


def _account(text: str) -> str:
    if not is_account(text):
        raise ValueError("must be an account's name")
    return text


def _tier(text: str) -> str:
    if text and not is_tier(text):
        raise ValueError("must be a tier's code, or empty for orders without one")
    return text


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError("must be free of control characters")
    return text


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        dumped = orjson.dumps(metadata)
    except orjson.JSONEncodeError:  # a TypeError, which pydantic would let through
        raise ValueError("must not be nested so deeply") from None
    if len(dumped) > _METADATA_MAX_BYTES or b"\\u0000" in dumped:
        raise ValueError(f"must be at most {_METADATA_MAX_BYTES} bytes as JSON, without NUL characters")
    return metadata


def _with_plus(text: object) -> object:
    return _SPACED_ZONE.sub("+", text) if isinstance(text, str) else text


def _storable(at: datetime) -> datetime:
    if not _EARLIEST < at < _LATEST:
        raise ValueError("must be a time between 2000 and 2100")
    return at.astimezone(UTC)


def _soon(at: datetime) -> datetime:
    if not timedelta() < at - datetime.now(UTC) < _EXPIRES_WITHIN:
        raise ValueError("must be a time within the next 366 days")
    return at


def _text(description: str, **schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema, "description": description})


MerchantUid = Annotated[
    str,
    AfterValidator(_merchant_uid),
    _text(
        "The order's number. Any characters but control characters; one number is one order.",
        minLength=1,
        maxLength=MERCHANT_UID_MAX,
        pattern=_PLAIN,
    ),
]
NewMerchantUid = Annotated[
    MerchantUid,
    AfterValidator(_new_merchant_uid),
    _text(
        "The order's number. Any characters but control characters, and neither `.` nor `..`; one number is one order.",
        minLength=1,
        maxLength=MERCHANT_UID_MAX,
        pattern=_PLAIN,
        **{"not": {"enum": [".", ".."]}},
    ),
]
ImpUid = Annotated[
    str,
    AfterValidator(_imp_uid),
    _text("PortOne's name of one payment attempt.", pattern=rf"^[A-Za-z0-9_-]{{1,{IMP_UID_MAX}}}$"),
]
Account = Annotated[
    str,
    _text(
        "A PortOne account, by its name in PORTONE_ACCOUNTS; `default` is the one of PORTONE_IMP_KEY.",
        pattern=rf"^[a-z0-9][a-z0-9_-]{{0,{ACCOUNT_MAX - 1}}}$",
    ),
]
Tier = Annotated[
    str,
    _text("A sub-store's code, one of PORTONE_TIERS or of the account's.", pattern=rf"^[A-Za-z0-9]{{{TIER_LENGTH}}}$"),
]
Currency = Annotated[str, AfterValidator(_currency), _text("An ISO 4217 code.", pattern="^[A-Z]{3}$")]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT, description="In the currency's smallest unit.")]
Name = Annotated[str, Field(max_length=200), AfterValidator(_plain), Field(json_schema_extra={"pattern": _PLAIN})]
Word = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(_plain), Field(json_schema_extra={"pattern": _PLAIN})
]
ExpiresAt = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_soon)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
# In an address: a well-formed account or tier that is not configured has no orders, or had some once.
AccountFilter = Annotated[Account, AfterValidator(_account)]
TierFilter = Annotated[
    str,
    AfterValidator(_tier),
    _text("A sub-store's code; empty: orders without one.", pattern=rf"^([A-Za-z0-9]{{{TIER_LENGTH}}})?$"),
]
Since = Annotated[AwareDatetime, BeforeValidator(_with_plus), AfterValidator(_storable)]
