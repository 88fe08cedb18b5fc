"""A lesser answer leads to another look, which decides."""

from tests.running import RunningService
from tests.sandbox_client import RunningSandbox


async def test_a_regression_that_was_none_is_closed_by_the_next_notice(
    service: RunningService, sandbox: RunningSandbox
) -> None:
    """While a lesser answer is undecided, even a notice that claims nothing new is looked at."""
    await service.register("order-1")
    payment = await sandbox.pay("order-1", 64900)
    imp_uid = payment["imp_uid"]
    await service.becomes("order-1", state="paid", problems=[])
    await sandbox.move(imp_uid, "set", fields={"status": "ready", "paid_at": 0})
    await sandbox.send_webhook(imp_uid, status="failed")
    await service.becomes("order-1", state="paid", problems=[{"kind": "regressed_payment", "imp_uid": imp_uid}])
    await sandbox.move(imp_uid, "set", fields={"status": "paid", "paid_at": payment["paid_at"]})
    await sandbox.send_webhook(imp_uid, status="paid")
    await service.becomes("order-1", state="paid", problems=[])
