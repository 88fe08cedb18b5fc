"""A worker tells endpoints of changes soon after they are committed, and its metrics say so."""

from service.db import endpoints
from service.db.pool import Pool, in_transaction
from service.settings import Settings
from tests.receiving import receiving
from tests.running import bearer, running_receiver, running_worker, until
from tests.sandbox_client import RunningSandbox
from tests.service.telling import SECRET


async def test_a_payment_is_told(settings: Settings, pool: Pool, sandbox: RunningSandbox) -> None:
    """An order that is registered and paid is told as two events, in their order."""
    settings = settings.model_copy(update={"endpoints_in_private_networks": True})
    async with receiving() as endpoint, running_receiver(settings) as service, running_worker(settings):
        await in_transaction(pool, endpoints.add, "warehouse", endpoint.url, (), SECRET, oldest=False)
        await service.register("order-1")
        paid = await sandbox.pay("order-1", 64900)
        await service.complete(paid["imp_uid"], "order-1")

        async def is_told() -> bool:
            return endpoint.versions("order-1") == [1, 2]

        await until(is_told)

        async def is_counted() -> bool:
            _, page = await service.call("GET", "/metrics", headers=bearer())
            return 'endpoint_deliveries_total{endpoint="warehouse"} 2.0' in page

        await until(is_counted)
    assert [received.data["type"] for received in endpoint.accepted] == ["order.registered", "order.paid"]


async def test_a_private_address_is_refused(settings: Settings, pool: Pool) -> None:
    """Without ENDPOINTS_IN_PRIVATE_NETWORKS nothing is sent into a private network, and the attempt says why."""
    async with receiving() as endpoint, running_receiver(settings) as service, running_worker(settings):
        await in_transaction(pool, endpoints.add, "warehouse", endpoint.url, (), SECRET, oldest=False)
        await service.register("order-1")

        async def is_logged() -> bool:
            return bool(await in_transaction(pool, endpoints.attempts, "warehouse", 1, failed=True))

        await until(is_logged)
        [attempt] = await in_transaction(pool, endpoints.attempts, "warehouse", 1)
    assert "127.0.0.1 is not an address of the open internet" in (attempt.failure or "")
    assert not endpoint.received
