"""What the commands share that a person uses on a running service: its parts, and who says why."""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from cli.whose import load_settings
from service.db.pool import Pool, open_pool
from service.redis.queue import Queue, connect
from service.settings import Settings

Who = Annotated[str, typer.Option(help="Who does this; it is written down.")]
Why = Annotated[str, typer.Option(help="Why; it is written down.")]


def me() -> str:
    """The default of `--who`: the account that runs the command."""
    return getpass.getuser()


@dataclass(frozen=True, slots=True)
class Desk:
    """The stores of the service."""

    settings: Settings
    pool: Pool
    queue: Queue


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    settings = load_settings().require("database_url", "redis_url")
    pool = await open_pool(settings.database_url.get_secret_value(), size=2)
    queue = Queue(connect(settings.redis_url.get_secret_value()))
    try:
        yield Desk(settings, pool, queue)
    finally:
        await queue.close()
        await pool.close()
