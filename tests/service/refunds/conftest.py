"""Fixtures: two workers that may refund payments."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sandbox.ledger import Ledger
from sandbox.world import WORLD
from service.db.pool import open_pool
from service.portone.client import PortOne
from service.settings import Settings
from service.usecases.refunds import Refunder
from service.usecases.verification import Verifier
from tests.sandbox_client import RunningSandbox
from tests.service.refunding import make_refunder


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"calls_per_second": 100_000.0})


@pytest.fixture
async def portone(settings: Settings) -> AsyncIterator[PortOne]:
    client = PortOne(settings.portone_api_url, settings.portone_imp_key, settings.portone_imp_secret.get_secret_value())
    yield client
    await client.close()


@pytest.fixture
def refunder(verifier: Verifier, portone: PortOne) -> Refunder:
    return make_refunder(verifier, portone)


@pytest.fixture
async def other_refunder(verifier: Verifier, portone: PortOne, database_url: str) -> AsyncIterator[Refunder]:
    """The refunder of another worker, with its own pool."""
    pool = await open_pool(database_url)
    yield make_refunder(replace(verifier, pool=pool), portone)
    await pool.close()


@pytest.fixture
def ledger(sandbox: RunningSandbox) -> Ledger:
    """The payments as PortOne has them."""
    return sandbox.app[WORLD].ledger
