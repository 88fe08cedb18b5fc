"""What a sandbox is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Keys:
    """What one PortOne account is asked with."""

    imp_key: str
    imp_secret: str


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The PortOne accounts that it plays, and the Endpoint URL that their consoles would hold."""

    imp_key: str = "imp_sandbox_key"
    imp_secret: str = "imp_sandbox_secret"  # noqa: S105 - the stand-in's own, worth nothing elsewhere
    webhook_url: str | None = None
    """Payments made under a tier are announced to `webhook_url/{tier}`; None announces nothing."""
    state_file: Path | None = None
    """Where payments survive a restart; None keeps them in memory alone."""
    accounts: Mapping[str, Keys] = field(default_factory=dict)
    """More accounts by their names; theirs are announced to `webhook_url/accounts/{account}[/{tier}]`."""
    user_code: str = "imp00000000"
    """What a page gives to `IMP.init` for the default account; another account's user code is its name."""
    strict: bool = False
    """Refuse user codes and channels that are not set up, as PortOne does, instead of opening a window."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts beside this machine that may be called, and under whose names the sandbox may be called."""
    public_url: str | None = None
    """The address under which browsers reach the sandbox, where the SDK's own address does not say it."""

    @property
    def keys(self) -> dict[str, Keys]:
        """Every account's, the default first."""
        return {DEFAULT_ACCOUNT: Keys(self.imp_key, self.imp_secret), **self.accounts}

    def account_with(self, user_code: object) -> str | None:
        """Return the account that has this user code, or None."""
        if user_code == self.user_code:
            return DEFAULT_ACCOUNT
        return user_code if isinstance(user_code, str) and user_code in self.accounts else None
