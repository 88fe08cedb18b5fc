"""The time that a command to Redis may take, and the errors that mean that Redis is away."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from redis.exceptions import RedisError

from service.errors import RedisUnavailable

COMMAND_SECONDS = 1.0
REDIS_AWAY = (RedisError, OSError, TimeoutError, RedisUnavailable)
Result = TypeVar("Result")


async def bounded(command: Awaitable[Result]) -> Result:
    """Return the command's result. Raises RedisUnavailable after a second, or if Redis is away."""
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            return await command
    except REDIS_AWAY as error:
        raise RedisUnavailable(type(error).__name__) from error
