"""Fixtures: two PortOne accounts, `default` and `shop-b`, each with a sub-store `abc`, in one deployment."""

from collections.abc import AsyncIterator

import pytest

from sandbox.config import Keys, SandboxConfig
from service.account_settings import PortOneAccount
from service.settings import Settings
from tests.sandbox_client import RunningSandbox, running_sandbox

KEYS = Keys("imp_key_b", "imp_secret_b")


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(SandboxConfig(accounts={"shop-b": KEYS})) as running:
        yield running


@pytest.fixture
def settings(settings: Settings) -> Settings:
    shop_b = PortOneAccount(imp_key=KEYS.imp_key, imp_secret=KEYS.imp_secret, tiers=("abc",))
    return settings.model_copy(update={"portone_tiers": ("abc",), "portone_accounts": {"shop-b": shop_b}})
