"""The service under test, whole or in parts."""

from collections.abc import AsyncIterator

import pytest

from service.logs import configure_logs
from service.settings import Settings
from tests.running import RunningService, running_receiver, running_worker
from tests.sandbox_client import RunningSandbox


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    configure_logs()


@pytest.fixture
async def receiver(settings: Settings, sandbox: RunningSandbox) -> AsyncIterator[RunningService]:
    """A receiver without a worker, to which the sandbox sends its webhooks."""
    async with running_receiver(settings) as running:
        sandbox.send_webhooks_to(f"{running.url}/webhooks/portone/v1")
        yield running


@pytest.fixture
async def service(settings: Settings, receiver: RunningService) -> AsyncIterator[RunningService]:
    """The receiver and a worker."""
    async with running_worker(settings):
        yield receiver
