"""Find the store (account and tier) that a caller means; refuse one that is not configured in one sentence."""

from collections.abc import Mapping

from service.account_settings import PortOneAccount
from service.domain.payment import ACCOUNT, Store
from service.http.problems import HttpProblem


def require_store(accounts: Mapping[str, PortOneAccount], account: str | None, tier: str | None) -> Store:
    """Return the store of this account (None: the default) and tier (None: none). Raises HttpProblem."""
    name = ACCOUNT if account is None else account
    configured = accounts.get(name)
    if configured is None:
        raise HttpProblem(400, "unknown-account", "This account is not configured: add it to PORTONE_ACCOUNTS.")
    if tier is not None and tier not in configured.tiers:
        setting = "PORTONE_TIERS" if name == ACCOUNT else "its tiers in PORTONE_ACCOUNTS"
        raise HttpProblem(400, "unknown-tier", f"This tier is not configured: add it to {setting}.")
    return Store(name, tier or "")
