"""SAQ tuned: `saq bench.alternatives.saq_tuned.settings`. Many jobs at once, no results kept, uvloop, orjson."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvloop
from redis import asyncio as aioredis
from saq.queue.redis import RedisQueue

from bench.alternatives.work import Work

uvloop.install()

_CONCURRENCY = 100
_CONNECTIONS = 2 * _CONCURRENCY + 50  # a blocking pop each, and what they do besides; redis-py gives 100 by default
_KEEP_NOTHING = -1


def make_queue() -> RedisQueue:
    redis = aioredis.Redis.from_url(os.environ["REDIS_URL"], max_connections=_CONNECTIONS)
    return RedisQueue(redis, dump=orjson.dumps, load=orjson.loads, max_concurrent_ops=_CONCURRENCY)


async def open_queue() -> Callable[[str], Awaitable[Any]]:
    queue = make_queue()
    await queue.connect()
    return lambda imp_uid: queue.enqueue("settle", imp_uid=imp_uid, ttl=_KEEP_NOTHING)


async def settle(ctx: dict[str, Any], *, imp_uid: str) -> None:
    await ctx["work"].settle(imp_uid)


async def startup(ctx: dict[str, Any]) -> None:
    ctx["work"] = await Work.open()


async def shutdown(ctx: dict[str, Any]) -> None:
    await ctx["work"].close()


def settings() -> dict[str, Any]:
    return {
        "queue": make_queue(),
        "functions": [settle],
        "concurrency": _CONCURRENCY,
        "startup": startup,
        "shutdown": shutdown,
    }
