"""The settings: one frozen class, read from the environment, then `.env`. docs/configuration.md lists them."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.account_settings import Accounts, HttpUrl, PortOneAccount, Tiers
from service.database_url import READABLE, WRITABLE, check_url
from service.domain.ownership import Ours
from service.domain.payment import ACCOUNT, Store
from service.domain.refund import Action
from service.domain.timetable import Timetable
from service.redis_url import read_redis_url


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one sentence that says what to do."""


def _split(value: object) -> object:
    """Accept `a,b` as well as a list, because the environment has only texts."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
TierList = Annotated[Tiers, NoDecode, BeforeValidator(_split)]
Time = Annotated[AwareDatetime | None, BeforeValidator(lambda value: None if value == "" else value)]
Port = Annotated[int, Field(ge=1, le=65535)]

Connections = Annotated[int, Field(ge=1, le=100)]
Waiting = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1_000_000)]

_SECRET_LENGTH_MIN = 32


class Settings(BaseSettings):
    """The settings of the receiver, the worker and the commands. Secrets never show in a repr or a log."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address the receiver listens on")
    port: Port = Field(8080, description="Port the receiver listens on")
    public_url: HttpUrl = Field(
        "", description="Where PortOne and browsers reach the receivers, as https://pay.shop.example: `doctor` tries it"
    )
    sandbox_port: Port = Field(8081, description="Port of the sandbox, which plays PortOne")
    metrics_host: str = Field("127.0.0.1", description="Address on which METRICS_PORT listens, without a key")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of this process's own metrics, each receiver and worker another; 0: none"
    )
    trace_file: Path | None = Field(
        None, description="File to which traces are appended; they need the extra `tracing`; empty: none"
    )
    traces_per_second: Rate = Field(
        200.0, description="Traces that each process keeps in a second; of more, all keep the same ones"
    )
    state_dir: Path = Field(Path(".run"), description="Where `make run` keeps its databases' data")
    database_url: SecretStr = Field(
        SecretStr(""), description="Postgres, as postgresql://user:password@host/name; perhaps several hosts, host,host"
    )
    direct_database_url: SecretStr = Field(
        SecretStr(""), description="Postgres itself, for workers and `migrate`, where DATABASE_URL names a pooler"
    )
    read_database_url: SecretStr = Field(
        SecretStr(""), description="Standbys of Postgres that may answer reads of orders, as DATABASE_URL; empty: none"
    )
    read_age_max_seconds: float = Field(
        5.0, gt=0, le=60, description="How old a standby's answer may be; beyond that the primary answers"
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="Redis, as redis://:password@host:port/0, or its Sentinels, as"
        " redis+sentinel://:password@host,host/mymaster/0",
    )
    portone_api_url: HttpUrl = Field("https://api.iamport.kr", description="PortOne's V1 API")
    portone_imp_key: str = Field("", description="REST API key of the PortOne account")
    portone_imp_secret: SecretStr = Field(SecretStr(""), description="REST API secret of the PortOne account")
    portone_tiers: TierList = Field((), description="Sub-stores' tier codes, comma-separated")
    portone_accounts: Accounts = Field(
        {},
        description="More PortOne accounts, as JSON: name → `imp_key`, `imp_secret`, perhaps `tiers`, `api_url`",
    )
    service_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="Bearer keys of the services that may register and read orders, comma-separated"
    )
    checkout_secrets: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = Field(
        (),
        description="Secrets of checkout tokens, comma-separated: the first signs, all are believed; empty: no tokens",
    )
    checkout_token_seconds: float = Field(
        3_600.0, ge=1, le=604_800, description="How long a checkout token opens its order's state"
    )
    return_url: HttpUrl = Field("", description="The shop's page where a redirected payment ends")
    cors_origins: List = Field(
        (), description="Origins whose pages may call /payment/complete and /checkout, comma-separated"
    )
    trusted_proxies: List = Field(
        (), description="Addresses or networks of your own proxies, whose X-Forwarded-For is believed"
    )
    order_prefixes: List = Field(
        (), description="How this shop's order numbers begin, comma-separated: other money is not ours; empty: any"
    )
    payments_since: Time = Field(
        None, description="Payments begun before this time, such as 2026-11-01T00:00:00+09:00, are not ours"
    )
    completions_per_client: Rate = Field(
        200.0, description="Completion and redirect calls a second from one client, at all receivers; more do not wait"
    )
    completions_per_second: Rate = Field(
        2_000.0,
        description="Calls a second beyond COMPLETIONS_PER_CLIENT, of all clients at a receiver; more are refused",
    )
    webhooks_per_client: Rate = Field(
        2_000.0, description="Webhooks a second from one sender at a receiver; more are slowed"
    )
    webhooks_per_second: Rate = Field(20_000.0, description="Webhooks a second from all at a receiver; more are slowed")
    checkouts_per_client: Rate = Field(
        200.0, description="Checkout reads a second from one client, at all receivers; more are refused"
    )
    confirmations_per_client: Rate = Field(
        500.0, description="`confirm_url` questions a second from one address that is not PortOne's"
    )
    registration_connections: Connections = Field(
        2, description="Connections to Postgres, and so batches at once, of registrations; each kind has its own"
    )
    registration_waiting: Waiting = Field(2_000, description="Registrations that may wait; more are answered 503")
    read_connections: Connections = Field(1, description="Connections to Postgres, and so batches at once, of reads")
    read_waiting: Waiting = Field(4_000, description="Reads that may wait; more are answered 503")
    list_connections: Connections = Field(1, description="Lists of orders that are read at once; more wait")
    list_waiting: Waiting = Field(100, description="Lists and histories that may wait; more are answered 503")
    idempotency_waiting: Waiting = Field(
        2_000, description="Calls with an Idempotency-Key that may wait to begin; more are answered 503"
    )
    read_waiters: Waiting = Field(
        10_000, description="Reads of orders that may wait for the next change; more are answered 503"
    )
    feed_connections: Connections = Field(
        1, description="Connections to Postgres that read the feed's past; its head has one of its own"
    )
    feed_waiting: Waiting = Field(
        2_000, description="Reads of the feed that may wait to be read; more are answered 503"
    )
    feed_followers: Waiting = Field(
        2_000, description="Calls that wait for the feed's next event, and streams of it; more are answered 503"
    )
    checkout_connections: Connections = Field(
        1, description="Connections to Postgres, and so batches at once, of checkout reads"
    )
    checkout_waiting: Waiting = Field(4_000, description="Checkout reads that may wait; more are answered 503")
    completion_connections: Connections = Field(
        2, description="Connections to Postgres, and so batches at once, of completions' answers"
    )
    completion_waiting: Waiting = Field(
        4_000, description="Completions' answers that may wait to be read; more are answered 202 at once"
    )
    confirmation_connections: Connections = Field(
        2, description="Connections to Postgres, and so batches at once, of `confirm_url` questions"
    )
    confirmation_waiting: Waiting = Field(2_000, description="`confirm_url` questions that may wait; more are unsure")
    console_hosts: List = Field(
        (), description="Names under which people open /console over https, comma-separated; loopback always works"
    )
    console_connections: Connections = Field(
        2, description="Connections to Postgres, and so pages at once, of the console"
    )
    console_waiting: Waiting = Field(100, description="Pages and actions of the console that may wait; more get 503")
    on_mismatch: Action = Field(
        Action.HOLD, description="Money of the wrong amount, currency or store: hold it for a person, or refund it"
    )
    on_duplicate: Action = Field(Action.HOLD, description="A second payment of an order: hold it, or refund it")
    on_paid_after_close: Action = Field(
        Action.HOLD, description="Money of an order that was closed before: hold it for a person, or refund it"
    )
    refund_max_per_hour: int = Field(
        5, ge=0, le=1_000_000, description="Refunds sent in an hour by all workers together; more of them wait"
    )
    calls_per_second: Rate = Field(
        100.0, description="Calls a second to PortOne under one account, by all workers together"
    )
    time_scale: float = Field(1.0, gt=0, le=10, description="Factor of every wait; other than 1 only for tests")
    promise_age_seconds: float = Field(60.0, gt=0, description="How long a notice may be due before an alarm is raised")
    promise_lag_seconds: float = Field(300.0, gt=0, description="Age of the last ledger scan that raises an alarm")
    promise_feed_lag_seconds: float = Field(
        15.0, gt=0, description="Age of an event that the feed cannot show yet that raises an alarm"
    )
    promise_parked: int = Field(1000, ge=0, description="Count of parked notices that raises an alarm")
    spill_megabytes: float = Field(
        64.0, gt=0, le=10_000, description="Room in Redis for notices while Postgres is away; more are answered 503"
    )
    keep_handled_days: float = Field(30.0, gt=0, description="Days until a handled notice is pruned")
    keep_unregistered_days: float = Field(
        3.0, gt=0, description="Days until a handled or parked notice that named no registered order is pruned"
    )
    completion_wait_seconds: float = Field(
        5.0, ge=0, le=20, description="How long a completion call waits for PortOne's answer"
    )
    deposit_grace_hours: float = Field(
        24.0, ge=0, le=1_000, description="Hours that an account may take a deposit after its due date"
    )
    prepare_amount: bool = Field(
        False, description="Register each order's amount with PortOne, so that its SDK opens on no other amount"
    )
    endpoints_in_private_networks: bool = Field(
        False, description="Let outgoing webhooks go to private addresses, and over http: for services beside this one"
    )
    endpoint_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="How long an endpoint may take to answer an outgoing webhook"
    )
    endpoint_deliveries_at_once: int = Field(
        64, ge=1, le=1_000, description="Outgoing webhooks under way at once from one worker to one endpoint"
    )
    keep_attempts_days: float = Field(7.0, gt=0, description="Days until an outgoing webhook's attempt is pruned")
    confirm_when_unsure: Literal["refuse", "allow"] = Field(
        "refuse", description="Answer to `confirm_url` when Postgres or the stock hook cannot be asked"
    )
    confirm_language: Literal["ko", "en"] = Field("ko", description="Language of `confirm_url`'s reasons")
    stock_hook_url: HttpUrl = Field("", description="The shop's own hook that `confirm_url` asks for stock, if any")
    stock_hook_per_second: Rate = Field(50.0, description="Questions a second to the stock hook; more are unsure")
    allow_test_channel: bool = Field(False, description="Let test-channel payments pay orders: never in production")

    @field_validator("portone_accounts")
    @classmethod
    def _each_key_once(cls, accounts: Accounts, info: ValidationInfo) -> Accounts:
        keys = [info.data.get("portone_imp_key"), *(account.imp_key for account in accounts.values())]
        if len(set(keys)) < len(keys):
            raise ValueError("each account must have an imp_key of its own")
        return accounts

    @field_validator("checkout_secrets")
    @classmethod
    def _long_enough(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # Whoever has a token can try secrets against it without asking us.
        if any(len(secret.get_secret_value()) < _SECRET_LENGTH_MIN for secret in secrets):
            raise ValueError(f"each must have at least {_SECRET_LENGTH_MIN} characters, such as `openssl rand -hex 24`")
        return secrets

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy)  # its own error says what is wrong
        return proxies

    @field_validator("database_url", "direct_database_url", "read_database_url")
    @classmethod
    def _database(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        if text := url.get_secret_value():
            check_url(text, READABLE if info.field_name == "read_database_url" else WRITABLE)
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr) -> SecretStr:
        if text := url.get_secret_value():
            read_redis_url(text)
        return url

    @property
    def direct_url(self) -> str:
        """The address of Postgres itself, where sessions are whole."""
        return self.direct_database_url.get_secret_value() or self.database_url.get_secret_value()

    @property
    def accounts(self) -> dict[str, PortOneAccount]:
        """Every account by its name, the default first, each with the address of its API."""
        # Not validated: the default may lack its key, which `require` reports where it is needed.
        default = PortOneAccount.model_construct(
            imp_key=self.portone_imp_key,
            imp_secret=self.portone_imp_secret,
            tiers=self.portone_tiers,
            api_url=self.portone_api_url,
        )
        others = {
            name: account if account.api_url else account.model_copy(update={"api_url": self.portone_api_url})
            for name, account in self.portone_accounts.items()
        }
        return {ACCOUNT: default, **others}

    @property
    def times(self) -> Timetable:
        """Every wait of the service, at this deployment's scale."""
        grace = timedelta(hours=self.deposit_grace_hours)
        return replace(Timetable(), deposit_grace=grace).scaled(self.time_scale)

    @property
    def stores(self) -> list[Store]:
        """Every account and tier that is configured."""
        return [Store(name, tier) for name, account in self.accounts.items() for tier in ("", *account.tiers)]

    @property
    def ours(self) -> Ours:
        """The marks by which money of unregistered orders can be ours."""
        return Ours(self.order_prefixes, self.payments_since)

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Read the settings. Raises SettingsError with one sentence that names all that is wrong."""
        try:
            return cls(**values)
        except ValidationError as error:
            faults = "; ".join(
                f"{_named(e['loc'])}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors(include_input=False, include_url=False)
            )
            raise SettingsError(f"Correct these settings in the environment or in .env: {faults}.") from None
        except OSError as error:
            raise SettingsError(f"The settings file .env cannot be read: {error.strerror}.") from None

    def require(self, *names: str) -> Self:
        """Return the settings. Raises SettingsError unless each named one is given."""
        missing = [name.upper() for name in names if not _text(getattr(self, name))]
        if missing:
            raise SettingsError(f"Set {' and '.join(missing)} in the environment or in .env.")
        return self


def _named(path: tuple[int | str, ...]) -> str:
    setting, *within = path
    return ".".join([str(setting).upper(), *map(str, within)])


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
