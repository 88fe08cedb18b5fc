"""Fixtures: the service, its sandbox and the command, for the commands that talk to both over HTTP."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from cli.main import app
from service.settings import Settings
from tests.running import SERVICE_KEY, RunningService, running_receiver, running_worker
from tests.sandbox_client import RunningSandbox


@dataclass(frozen=True)
class Commands:
    """`portone-orders …` in a shell that knows where the service and the sandbox are."""

    environment: dict[str, str | None]
    service: RunningService
    sandbox: RunningSandbox

    async def run(self, *words: str, **variables: str | None) -> str:
        """Run a command and return its output. Raises the error that it would print. A variable of None is unset."""
        code, output = await self.run_to_end(*words, **variables)
        assert code == 0, output
        return output

    async def run_to_end(self, *words: str, **variables: str | None) -> tuple[int, str]:
        """Do as `run` does, for a command that may end with another code. Returns the code and the output."""
        environment = self.environment | variables | {"COLUMNS": "300"}
        result = await asyncio.to_thread(CliRunner().invoke, app, list(words), env=environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output


@pytest.fixture(autouse=True)
def _logs_elsewhere() -> Iterator[None]:
    """Send logs to standard error: a service in this process must not log into a command's output."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.configure(**before)


@asynccontextmanager
async def commands_of(settings: Settings, sandbox: RunningSandbox) -> AsyncIterator[Commands]:
    """Run a receiver and a worker on these settings."""
    async with running_receiver(settings) as receiver, running_worker(settings):
        sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
        environment: dict[str, str | None] = {
            "BASE_URL": receiver.url,
            "SERVICE_KEY": SERVICE_KEY,
            "SANDBOX_URL": sandbox.url,
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "PORTONE_TIERS": ",".join(settings.portone_tiers),
        }
        yield Commands(environment, receiver, sandbox)


@pytest.fixture
async def commands(
    settings: Settings, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Commands]:
    """The commands, in a folder without a developer's .env and .run."""
    monkeypatch.chdir(tmp_path)
    async with commands_of(settings, sandbox) as running:
        yield running
