"""Each kind of work is shed in its own way, and says when to come again (docs/design.md §2.13)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService, bearer, running_receiver
from tests.sandbox_client import RunningSandbox

WAITING = 2
CALLS = 9  # less than one order may be asked about in a second


@pytest.fixture
async def narrow(settings: Settings, sandbox: RunningSandbox) -> AsyncIterator[RunningService]:
    """A receiver of whose every kind hardly anything may wait."""
    bounds = dict.fromkeys(
        ("read_waiting", "registration_waiting", "completion_waiting", "confirmation_waiting"), WAITING
    )
    async with running_receiver(settings.model_copy(update=bounds)) as receiver:
        yield receiver


async def test_each_kind_is_shed_in_its_own_way(narrow: RunningService, pool: Pool) -> None:
    """Reads and registrations beyond the bound are 503, completions 202, and questions are refused as unsure."""
    await narrow.register("order-1")
    question = {"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": 64900}
    completion = {"imp_uid": "imp_1", "merchant_uid": "order-1"}
    calls: dict[str, tuple[str, str, dict[str, Any]]] = {
        "read": ("GET", "/orders/order-1", {"headers": bearer()}),
        "register": ("POST", "/orders", {"json": {"merchant_uid": "order-1", "amount": 64900}, "headers": bearer()}),
        "complete": ("POST", "/payment/complete", {"json": completion, "headers": {"Prefer": "wait=0"}}),
        "confirm": ("POST", "/payments/confirm", {"json": question}),
    }
    for name, (method, path, options) in calls.items():
        async with pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            under_way = [asyncio.create_task(narrow.call(method, path, **options)) for _ in range(CALLS)]
            await asyncio.sleep(0.3)
        statuses = {status for status, _ in await asyncio.gather(*under_way)}
        shed = {"read": {200, 503}, "register": {200, 503}, "complete": {202}, "confirm": {200, 424}}[name]
        assert statuses <= shed, (name, statuses)
        assert len(statuses) == len(shed), (name, statuses)
    metrics = (await narrow.call("GET", "/metrics", headers=bearer()))[1]
    for work in ("reads", "registration"):
        assert f'work_shed_total{{work="{work}"}} 0.0' not in metrics
    assert 'work_waiting{work="reads"} 0.0' in metrics
