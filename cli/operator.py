"""Shared parts of the commands that a person runs on a live service: its databases, `--who` and `--why`."""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cli.settings_source import load_settings
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.pool import Pool
    from service.redis.queue import Queue

Who = Annotated[str, typer.Option(help="Who does this; it is recorded.")]
Why = Annotated[str, typer.Option(help="The reason; it is recorded.")]


def me() -> str:
    """Return the default of `--who`: the account that runs the command."""
    return getpass.getuser()


@dataclass(frozen=True, slots=True)
class Databases:
    """Open connections to both databases of the service, and its settings."""

    settings: Settings
    pool: "Pool"
    queue: "Queue"


@asynccontextmanager
async def open_databases() -> AsyncIterator[Databases]:
    from service.db.pool import open_pool
    from service.redis.queue import Queue, connect

    settings = load_settings().require("database_url", "redis_url")
    pool = await open_pool(settings.database_url.get_secret_value(), size=2)
    queue = Queue(connect(settings.redis_url.get_secret_value()))
    try:
        yield Databases(settings, pool, queue)
    finally:
        await queue.close()
        await pool.close()
