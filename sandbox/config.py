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

    @property
    def keys(self) -> dict[str, Keys]:
        """Every account's, the default first."""
        return {DEFAULT_ACCOUNT: Keys(self.imp_key, self.imp_secret), **self.accounts}
