"""The fleet's calls a second are shared, and none of them is thrown away."""

import asyncio

from service.redis.budget import Budget, Lane
from service.redis.queue import connect


async def test_callers_who_come_at_once_waste_no_place(redis_url: str) -> None:
    """Sixty calls of a thousand are all let through, and no more is taken from the fleet than a few for the next."""
    redis = connect(redis_url)
    await asyncio.gather(*(redis.ping() for _ in range(60)))  # sixty connections, so that nobody waits for one
    budget = Budget(redis, 1000)
    taken = await asyncio.gather(*(budget.take(Lane.LIVE) for _ in range(60)))
    counts = [int(await redis.get(key)) for key in await redis.keys("portone-orders:calls:*")]
    await redis.aclose(close_connection_pool=True)
    assert all(taken)
    assert sum(counts) <= 60 + 2 * 50  # a twentieth of the rate at a time, in one second or two
