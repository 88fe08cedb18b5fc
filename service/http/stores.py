"""Which account and tier a caller means; one that is not configured is refused in one sentence."""

from service.domain.payment import ACCOUNT, Store
from service.http.problems import HttpProblem
from service.settings import Settings


def require_store(settings: Settings, account: str | None, tier: str | None, *, status: int) -> Store:
    """The store of this account (None: the default) and tier (None: none). Raises HttpProblem with the status."""
    named = ACCOUNT if account is None else account
    found = settings.accounts.get(named)
    if found is None:
        raise HttpProblem(status, "unknown-account", "This account is not configured: add it to PORTONE_ACCOUNTS.")
    if tier is not None and tier not in found.tiers:
        setting = "PORTONE_TIERS" if named == ACCOUNT else "its tiers in PORTONE_ACCOUNTS"
        raise HttpProblem(status, "unknown-tier", f"This tier is not configured: add it to {setting}.")
    return Store(named, tier or "")
