"""All workers share the calls a second, and none of them is wasted."""

import asyncio

from service.redis.budget import Budget, Lane
from service.redis.queue import connect


async def test_callers_who_come_at_once_waste_no_place(redis_url: str) -> None:
    """Sixty calls at once all pass, and take only a few places more from the shared budget."""
    redis = connect(redis_url)
    await asyncio.gather(*(redis.ping() for _ in range(60)))  # opens sixty connections, so that no call waits for one
    budget = Budget(redis, 1000)
    taken = await asyncio.gather(*(budget.take(Lane.LIVE) for _ in range(60)))
    counts = [int(await redis.get(key)) for key in await redis.keys("portone-orders:calls:*")]
    await redis.aclose(close_connection_pool=True)
    assert all(taken)
    assert sum(counts) <= 60 + 2 * 50  # places are taken by a twentieth of the rate, in one or two seconds
