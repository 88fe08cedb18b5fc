"""Read what the shop sends of an order. It is bounded, and refused in one clear sentence."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self, TypeVar

import orjson
from aiohttp import web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from service.domain.ids import is_imp_uid, is_merchant_uid, is_plain
from service.domain.money import MAX_AMOUNT, is_known
from service.http.bodies import read_body
from service.http.problems import HttpProblem

_METADATA_MAX_BYTES = 4096
_EXPIRES_WITHIN = timedelta(days=366)


def _merchant_uid(text: str) -> str:
    if not is_merchant_uid(text):
        raise ValueError("must be 1 to 255 characters without control characters")
    return text


def _imp_uid(text: str) -> str:
    if not is_imp_uid(text):
        raise ValueError("must be a payment's imp_uid")
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
    try:
        dumped = orjson.dumps(metadata)
    except orjson.JSONEncodeError:  # a TypeError, which pydantic would let through
        raise ValueError("must not be nested so deeply") from None
    if len(dumped) > _METADATA_MAX_BYTES or b"\\u0000" in dumped:
        raise ValueError(f"must be at most {_METADATA_MAX_BYTES} bytes as JSON, without NUL characters")
    return metadata


def _soon(at: datetime) -> datetime:
    if not timedelta() < at - datetime.now(UTC) < _EXPIRES_WITHIN:
        raise ValueError("must be a time within the next 366 days")
    return at


MerchantUid = Annotated[str, AfterValidator(_merchant_uid)]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Currency = Annotated[str, AfterValidator(_currency)]
Name = Annotated[str, Field(max_length=200), AfterValidator(_plain)]
ExpiresAt = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_soon)]
Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]

_STRICT = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class OrderBody(BaseModel):
    """An order to register. `amount` is an integer in the currency's smallest unit."""

    model_config = _STRICT

    merchant_uid: MerchantUid
    amount: Amount
    currency: Currency = "KRW"
    name: Name | None = None
    account: str | None = None
    tier: str | None = None
    expires_at: ExpiresAt | None = None
    metadata: Metadata | None = None
    allow_billing_key_issue: bool = False


class AmendBody(BaseModel):
    """Changes to an order. A field that is left out stays; null empties name and metadata, nothing else."""

    model_config = _STRICT

    amount: Amount | None = None
    currency: Currency | None = None
    name: Name | None = None
    expires_at: ExpiresAt | None = None
    metadata: Metadata | None = None

    @field_validator("amount", "currency", "expires_at")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:  # a field that is left out is not validated
            raise ValueError("may be left out, but not null")
        return value


class WithdrawBody(BaseModel):
    """A withdrawal. `force` withdraws without asking PortOne, and whatever may be on its way: a person says why."""

    model_config = _STRICT

    force: bool = False
    who: Word | None = None
    why: Word | None = None

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.force and not (self.who and self.why):
            raise ValueError("force needs who and why")
        return self


class AcceptBody(BaseModel):
    """A payment that is the order's as it is, by a person's word."""

    model_config = _STRICT

    imp_uid: Annotated[str, AfterValidator(_imp_uid)]
    who: Word
    why: Word


Body = TypeVar("Body", bound=BaseModel)


async def read_order_body(request: web.Request, model: type[Body]) -> Body:
    """Read the body as the model describes it. Raises HttpProblem."""
    if request.content_type != "application/json":
        raise HttpProblem(415, "not-json", "Send the order as application/json.")
    try:
        fields = orjson.loads(await read_body(request))
    except ValueError:
        raise HttpProblem(400, "malformed-json", "The body is not JSON in UTF-8.") from None
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(_sentence(detail) for detail in error.errors(include_input=False, include_url=False))
        raise HttpProblem(400, "invalid-order", f"Correct these fields: {wrong}.") from None


def _sentence(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"] if is_plain(str(part)))[:80]
    return f"{where or 'the body'}: {detail['msg'].removeprefix('Value error, ')}"
