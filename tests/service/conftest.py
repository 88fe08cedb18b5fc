"""Fixtures: the service under test, whole or in parts."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import hypothesis
import pytest

from service.db.pool import Pool
from service.rate_limits import Limiter
from service.settings import Settings
from service.usecases.verification import Verifier
from tests.running import RunningService, patient_worker, running_receiver
from tests.sandbox_client import RunningSandbox
from tests.service.refunding import TIMES, Shop
from workers.parts import Parts, make_parts

# A shared machine may pause for longer than hypothesis allows, and its first texts are slow.
hypothesis.settings.register_profile(
    "portone-orders", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("portone-orders")


@pytest.fixture
def still_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the limiters' clock, so that a slow test's calls do not regain places between them."""
    limiter = partial(Limiter, clock=lambda: 100.0)
    for module in ("http.assembly", "shop.stock"):
        monkeypatch.setattr(f"service.{module}.Limiter", limiter)


@dataclass
class Logged:
    """A module's logger that keeps what it is told, as (event, fields)."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    warning = error = exception = info

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], Logged]:
    """Keep what a module logs: `logged(module)` returns its lines."""

    def by(module: ModuleType) -> Logged:
        lines = Logged()
        monkeypatch.setattr(module, "log", lines)
        return lines

    return by


@pytest.fixture
async def receiver(settings: Settings, sandbox: RunningSandbox) -> AsyncIterator[RunningService]:
    """A receiver without a worker, to which the sandbox sends its webhooks."""
    async with running_receiver(settings) as running:
        sandbox.send_webhooks_to(f"{running.url}/webhooks/portone/v1")
        yield running


@pytest.fixture
async def service(settings: Settings, receiver: RunningService) -> AsyncIterator[RunningService]:
    """The receiver and a worker, whose first walk of the ledger is due in a (scaled) minute, not at once."""
    async with patient_worker(settings):
        yield receiver


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """The parts with which a worker's tasks work, without a worker."""
    async with make_parts(settings) as running:
        yield running


@pytest.fixture
def verifier(parts: Parts) -> Verifier:
    """The verifier of the task, to be called directly."""
    return parts.verifier


@pytest.fixture
def shop(pool: Pool, sandbox: RunningSandbox, verifier: Verifier) -> Shop:
    """A shop with money that should not be there."""
    return Shop(pool, sandbox, replace(verifier, times=TIMES, stores=None))
