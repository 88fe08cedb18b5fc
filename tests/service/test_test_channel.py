"""A test-channel payment pays no order, unless ALLOW_TEST_CHANNEL allows it and the order is marked."""

import pytest

from service.db.pool import Pool
from service.settings import Settings
from tests.running import RunningService
from tests.sandbox_client import RunningSandbox


async def test_a_test_payment_is_a_problem_and_leaves_the_state_alone(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """Without ALLOW_TEST_CHANNEL a test payment is a problem, and neither the order nor its events are marked."""
    await service.register("order-1")
    payment = await sandbox.pay("order-1", 64900, sandbox=True)
    order = await service.becomes("order-1", problems=[{"kind": "test_channel", "imp_uid": payment["imp_uid"]}])
    assert (order["state"], order["test_channel"]) == ("pending", False)
    assert not await pool.fetchval("SELECT bool_or(test_channel) FROM order_events")


class TestAllowed:
    """The test channel with ALLOW_TEST_CHANNEL."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"allow_test_channel": True})

    async def test_a_test_payment_pays_and_is_marked(
        self, service: RunningService, sandbox: RunningSandbox, pool: Pool
    ) -> None:
        """A test payment pays the order, which is marked together with its event."""
        await service.register("order-1")
        await sandbox.pay("order-1", 64900, sandbox=True)
        await service.becomes("order-1", state="paid", test_channel=True, version=2)
        rows = await pool.fetch("SELECT version, test_channel FROM order_events ORDER BY id")
        assert [tuple(row) for row in rows] == [(1, False), (2, True)]
