"""Read what the shop sends of an order. It is bounded, and refused in one clear sentence."""

from typing import Annotated, Any, Self, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.domain.ids import is_plain
from service.http.bodies import read_body
from service.http.field_types import (
    Account,
    Amount,
    Currency,
    ExpiresAt,
    ImpUid,
    Metadata,
    Name,
    NewMerchantUid,
    Tier,
    Word,
)
from service.http.problems import HttpProblem

ORDERS_MAX = 500


def _without_null(schema: dict[str, Any]) -> None:
    """Describe a field that may be left out, but not be null."""
    [kind] = [kind for kind in schema.pop("anyOf") if kind != {"type": "null"}]
    schema.update(kind)


_STRICT = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class OrderBody(BaseModel):
    """An order to register. `amount` is an integer in the currency's smallest unit."""

    model_config = _STRICT

    merchant_uid: NewMerchantUid
    amount: Amount
    currency: Currency = "KRW"
    name: Name | None = Field(None, description="What a person should read.")
    account: Account | None = Field(
        None,
        description="The PortOne account that the payment must be made under: `default`, or one of PORTONE_ACCOUNTS.",
    )
    tier: Tier | None = Field(None, description="The sub-store that the payment must be made in.")
    expires_at: ExpiresAt | None = Field(
        None, description="Until when a payment is waited for; within 366 days. Left out: 30 days from now."
    )
    metadata: Metadata | None = Field(
        None,
        description="Yours; at most 4096 bytes as JSON. It is given back as it came, but for numbers: those that are no"
        " integers of 64 bits become floating-point numbers of 64 bits. Send greater or more exact ones as text.",
    )
    allow_billing_key_issue: bool = Field(
        False,
        description="Whether a payment whose window issued a billing key pays the order too. With most providers such"
        " a window charges nothing although PortOne's row says `paid`, so otherwise it is the problem"
        " `billing_key_issue`.",
    )


class BatchBody(BaseModel):
    """Orders to register. One that is wrong is refused alone."""

    model_config = _STRICT

    orders: Annotated[list[OrderBody], Field(min_length=1, max_length=ORDERS_MAX)]


class AmendBody(BaseModel):
    """Changes to an order. A field that is left out stays; null empties name and metadata, nothing else."""

    model_config = _STRICT

    amount: Amount | None = Field(None, json_schema_extra=_without_null)
    currency: Currency | None = Field(None, json_schema_extra=_without_null)
    name: Name | None = None
    expires_at: ExpiresAt | None = Field(None, json_schema_extra=_without_null)
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

    force: bool = Field(
        False,
        description="Withdraw without asking PortOne, and although an account may take a deposit. Money that is stored"
        " still keeps the order open. It needs `who` and `why`, which are kept.",
    )
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

    imp_uid: ImpUid
    who: Word
    why: Word


# For callers who do not know pydantic's models.
_PLAINER = {"extra_forbidden": "is not known here", "model_type": "must be a JSON object"}

Body = TypeVar("Body", bound=BaseModel)


async def read_order_body(request: web.Request, model: type[Body]) -> Body:
    """Read the body as the model describes it. Raises HttpProblem."""
    if request.content_type != "application/json":
        raise HttpProblem(415, "not-json", "Send the order as application/json.")
    try:
        fields = orjson.loads(await read_body(request))
    except orjson.JSONDecodeError as error:  # its text has the place, and nothing of the body
        raise HttpProblem(400, "malformed-json", f"The body cannot be read as JSON: {error}.") from None
    return checked(model, fields)


def checked(model: type[Body], fields: object) -> Body:
    """Return the fields as the model describes them. Raises HttpProblem."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(sentence(detail) for detail in error.errors(include_input=False, include_url=False))
        raise HttpProblem(400, "invalid-order", f"Correct these fields: {wrong}.") from None


def sentence(detail: Any) -> str:
    """Return what is wrong with one field, without what it held."""
    where = ".".join(str(part) for part in detail["loc"] if is_plain(str(part)))[:80]
    what = _PLAINER.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    return f"{where or 'the body'}: {what}"
