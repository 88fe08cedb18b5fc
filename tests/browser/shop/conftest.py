"""The shop in a sandbox beside a receiver and a worker, all in the browser's event loop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.config import SandboxConfig, ShopConfig
from service.settings import Settings
from tests.browser.pictures import picture_folder
from tests.ports import own_port
from tests.running import SERVICE_KEY, RunningService, patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox, running_sandbox

LATER_SECONDS = 0.5


@pytest.fixture
def service_url() -> str:
    """The address at which the receiver will listen, because sandbox and receiver each must know the other's."""
    return f"http://127.0.0.1:{own_port()}"


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox(service_url: str) -> AsyncIterator[RunningSandbox]:
    """A sandbox whose shop registers its orders at the receiver."""
    config = SandboxConfig(webhook_url=f"{service_url}/webhooks/portone/v1", shop=ShopConfig(service_url, SERVICE_KEY))
    async with running_sandbox(config) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def service(settings: Settings, sandbox: RunningSandbox, service_url: str) -> AsyncIterator[RunningService]:
    """The receiver and the worker, set up as `make run` does."""
    pages = {"return_url": f"{sandbox.url}/shop/return", "cors_origins": (sandbox.url,)}
    settings = settings.model_copy(update=pages)
    port = int(service_url.rpartition(":")[2])
    async with running_receiver(settings, port) as service, patient_worker(settings):
        await sandbox.control("POST", "window", later_seconds=LATER_SECONDS)
        yield service


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder for screenshots."""
    return picture_folder(tmp_path)
