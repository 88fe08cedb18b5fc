"""Tick for the refunds' turns, because arq's clock is not scaled and its ticks are 5 and 20 s apart.

A tick is the cron job of the same name, queued as arq itself queues it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from faults.stack import Stack
from service.redis.queue import QUEUE_NAME, connect
from workers.refunds import close_refunds, intend_refunds, send_refunds

_EVERY_SECONDS = 1.0
_TURNS = (intend_refunds, send_refunds, close_refunds)


@contextlib.asynccontextmanager
async def ticking(stack: Stack) -> AsyncIterator[None]:
    """Queue each turn every second meanwhile."""
    task = asyncio.create_task(_tick(stack))
    try:
        yield
    finally:
        task.cancel()


async def _tick(stack: Stack) -> None:
    """Queue each turn every second. A tick that Redis does not take is left out."""
    while True:
        redis = connect(stack.redis.url())
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            for turn in _TURNS:
                await redis.enqueue_job(f"cron:{turn.__qualname__}", _queue_name=QUEUE_NAME)
        await redis.aclose(close_connection_pool=True)
        await asyncio.sleep(_EVERY_SECONDS)
