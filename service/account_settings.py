"""The setting PORTONE_ACCOUNTS: PortOne accounts beside that of PORTONE_IMP_KEY, each with a name of our own."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from service.domain.ids import ACCOUNT_MAX, TIER_LENGTH, is_account, is_tier
from service.domain.payment import ACCOUNT


def http_url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


def tiers_of_three(tiers: tuple[str, ...]) -> tuple[str, ...]:
    if not all(is_tier(tier) for tier in tiers):
        raise ValueError(f"each tier must be {TIER_LENGTH} letters or digits")
    return tiers


HttpUrl = Annotated[str, AfterValidator(http_url)]
Tiers = Annotated[tuple[str, ...], AfterValidator(tiers_of_three)]


class PortOneAccount(BaseModel):
    """The key, tiers and API address of one account. `api_url` empty: PORTONE_API_URL."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    imp_key: str = Field(min_length=1)
    imp_secret: SecretStr = Field(min_length=1)
    tiers: Tiers = ()
    api_url: HttpUrl = ""


def _read(value: object) -> object:
    """Accept JSON as well as an object, because the environment has only texts. Errors must not show its secrets."""
    if not isinstance(value, str):
        return value
    try:
        accounts: Any = orjson.loads(value or "{}")
    except orjson.JSONDecodeError:
        raise ValueError('must be JSON, like {"shop-b": {"imp_key": "…", "imp_secret": "…"}}') from None
    return accounts


def _named(accounts: Mapping[str, PortOneAccount]) -> Mapping[str, PortOneAccount]:
    if ACCOUNT in accounts:
        raise ValueError(f"the account {ACCOUNT} is that of PORTONE_IMP_KEY: give this one another name")
    if not all(is_account(name) for name in accounts):
        raise ValueError(f"each name must be 1 to {ACCOUNT_MAX} small letters, digits, '-' or '_'")
    return accounts


Accounts = Annotated[Mapping[str, PortOneAccount], NoDecode, BeforeValidator(_read), AfterValidator(_named)]
