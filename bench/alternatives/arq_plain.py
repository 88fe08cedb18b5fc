"""arq as its documentation shows it: `arq bench.alternatives.arq_plain.WorkerSettings`."""

import os
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings

from bench.alternatives.work import Work

REDIS = RedisSettings.from_dsn(os.environ["REDIS_URL"])


async def open_queue() -> Callable[[str], Awaitable[Any]]:
    redis = await create_pool(REDIS)
    return lambda imp_uid: redis.enqueue_job("settle", imp_uid)


async def settle(ctx: dict[str, Any], imp_uid: str) -> None:
    await ctx["work"].settle(imp_uid)


async def startup(ctx: dict[str, Any]) -> None:
    ctx["work"] = await Work.open()


async def shutdown(ctx: dict[str, Any]) -> None:
    await ctx["work"].close()


class WorkerSettings:
    functions: ClassVar[list[Any]] = [settle]
    on_startup = startup
    on_shutdown = shutdown
    redis_settings = REDIS
