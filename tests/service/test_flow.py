"""A notice leads to verified order state, over real HTTP, Postgres and Redis."""

from tests.running import RunningService
from tests.sandbox_client import RunningSandbox


async def test_a_webhook_pays_an_order(service: RunningService, sandbox: RunningSandbox) -> None:
    """A registered order becomes paid when its payment is announced only by webhook."""
    await service.register("order-1")
    payment = await sandbox.pay("order-1", 64900)
    order = await service.becomes("order-1", state="paid", paid_amount=64900, version=2)
    assert order["payment"]["imp_uid"] == payment["imp_uid"]
    assert order["problems"] == []
