"""taskiq tuned: `taskiq worker bench.alternatives.taskiq_tuned:broker`, on streams, which acknowledge a job."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from bench.alternatives.work import Work

_CONNECTIONS = 300  # redis-py gives 100 by default, fewer than the receiver has senders

broker = RedisStreamBroker(os.environ["REDIS_URL"], consumer_id="0", max_connection_pool_size=_CONNECTIONS)
_works: list[Work] = []


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def startup(state: TaskiqState) -> None:
    _works.append(await Work.open())


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def shutdown(state: TaskiqState) -> None:
    await _works.pop().close()


@broker.task
async def settle(imp_uid: str) -> None:
    await _works[0].settle(imp_uid)


async def open_queue() -> Callable[[str], Awaitable[Any]]:
    await broker.startup()
    queue: Callable[[str], Awaitable[Any]] = settle.kiq
    return queue
