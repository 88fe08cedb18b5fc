"""The settings of a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Keys:
    """The API key and secret of one PortOne account."""

    imp_key: str
    imp_secret: str


@dataclass(frozen=True, slots=True)
class ShopConfig:
    """The service that the shop's back end registers its orders at, with one of its service keys."""

    service_url: str
    service_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The accounts of the stand-in, the Endpoint URL of their consoles, and what pages may do."""

    imp_key: str = "imp_sandbox_key"
    imp_secret: str = "imp_sandbox_secret"  # noqa: S105 - the stand-in's own, worth nothing elsewhere
    webhook_url: str | None = None
    """Webhooks go here; those of a tier's payments to `webhook_url/{tier}`. None sends none."""
    state_file: Path | None = None
    """The file that keeps the payments over a restart. None keeps them in memory alone."""
    accounts: Mapping[str, Keys] = field(default_factory=dict)
    """More accounts by name. Their webhooks go to `webhook_url/accounts/{account}[/{tier}]`."""
    user_code: str = "imp00000000"
    """The default account's code for `IMP.init`. Another account's user code is its name."""
    strict: bool = False
    """Refuse user codes and channels that are not set up, as PortOne does, instead of opening a window."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts beside this machine that may be called, and under whose names the sandbox may be called."""
    public_url: str | None = None
    """The address under which browsers reach the sandbox, where the SDK's own address does not say it."""
    shop: ShopConfig | None = None
    """None: the shop's pages say that they need a service."""

    @property
    def keys(self) -> dict[str, Keys]:
        """Return every account's keys, the default account first."""
        return {DEFAULT_ACCOUNT: Keys(self.imp_key, self.imp_secret), **self.accounts}

    def account_with(self, user_code: object) -> str | None:
        """Return the account that has this user code, or None."""
        if user_code == self.user_code:
            return DEFAULT_ACCOUNT
        return user_code if isinstance(user_code, str) and user_code in self.accounts else None
