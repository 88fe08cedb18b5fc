"""The console of a whole service, shared by these tests, with orders that came to different ends."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser
from redis.asyncio import Redis

from cli.embedded.postgres import DATABASE
from sandbox.config import SandboxConfig
from service.settings import Settings
from tests.browser.console.operator import Operator
from tests.browser.console.orders import ServiceWithOrders, make_orders
from tests.browser.pictures import picture_folder
from tests.conftest import Stores
from tests.running import SERVICE_KEY, patient_worker, running_receiver
from tests.sandbox_client import running_sandbox

_NAME = "test_console"
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests run in one process, which makes the orders once."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.xdist_group("console"))


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def with_orders(stores: Stores) -> AsyncIterator[ServiceWithOrders]:
    """A receiver, a worker, and the orders, made once for all tests of the console, while no others run."""
    async with Redis.from_url(stores.redis.url()) as redis:
        await redis.flushall()
    admin = await asyncpg.connect(stores.postgres.url("postgres"))
    await admin.execute(f"CREATE DATABASE {_NAME} TEMPLATE {DATABASE} STRATEGY file_copy")
    async with running_sandbox(SandboxConfig()) as sandbox:
        settings = Settings(
            _env_file=None,
            database_url=stores.postgres.url(_NAME),
            redis_url=stores.redis.url(),
            portone_api_url=sandbox.url,
            portone_imp_key=sandbox.imp_key,
            portone_imp_secret=sandbox.imp_secret,
            service_keys=(SERVICE_KEY,),
            endpoints_in_private_networks=True,
        )
        async with running_receiver(settings) as service, patient_worker(settings):
            yield await make_orders(settings, service, sandbox)
    await admin.execute(f"DROP DATABASE {_NAME} WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture(loop_scope="session")
async def operator(chromium: Browser, with_orders: ServiceWithOrders) -> AsyncIterator[Operator]:
    """A person at a desk, who has not signed in."""
    async with Operator.arrive(chromium, with_orders) as operator:
        yield operator


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder for screenshots."""
    return picture_folder(tmp_path)
