"""A completion call that waited for its look: what the message says, and what must be read."""

import asyncio
from typing import Any

from service.db.pool import Pool
from service.redis.queue import Queue, connect
from tests.running import RunningService, until
from tests.service import stored

_REACHED = {"imp_1": ("order-1", "paid")}


async def _complete(receiver: RunningService, pool: Pool, redis_url: str, merchant_uid: str) -> tuple[int, Any]:
    """Complete an order while no worker runs, with a worker's message that imp_1 has paid order-1."""

    async def is_recorded() -> bool:
        return bool(await stored.notices(pool, "imp_1"))

    call = asyncio.create_task(receiver.complete("imp_1", merchant_uid, headers={"Prefer": "wait=2"}))
    await until(is_recorded)
    queue = Queue(connect(redis_url))
    while not call.done():
        await queue.tell(["imp_1"], ["order-1"], _REACHED)
        await asyncio.wait({call}, timeout=0.1)
    await queue.close()
    return call.result()


async def test_a_state_that_the_message_brings_is_not_read(
    receiver: RunningService, pool: Pool, redis_url: str
) -> None:
    """The worker has committed what its message says, so the call is answered at once."""
    await receiver.register("order-1")
    answer = await _complete(receiver, pool, redis_url, "order-1")
    assert answer == (200, {"merchant_uid": "order-1", "state": "paid"})


async def test_a_message_about_another_order_answers_nothing(
    receiver: RunningService, pool: Pool, redis_url: str
) -> None:
    """A call that names another order than the payment's own is told only what Postgres says."""
    await receiver.register("order-2")
    status, answer = await _complete(receiver, pool, redis_url, "order-2")
    assert (status, answer["reason"]) == (202, "not-looked-yet")
