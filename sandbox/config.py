"""What a sandbox is started with."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """One PortOne account, and the Endpoint URL that its console would hold."""

    imp_key: str = "imp_sandbox_key"
    imp_secret: str = "imp_sandbox_secret"  # noqa: S105 - the stand-in's own, worth nothing elsewhere
    webhook_url: str | None = None
    """Payments made under a tier are announced to `webhook_url/{tier}`; None announces nothing."""
    state_file: Path | None = None
    """Where payments survive a restart; None keeps them in memory alone."""
