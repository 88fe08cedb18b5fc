"""`portone-orders top`: today's figures, live in the terminal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.errors import in_a_sentence
from cli.output import AsJson, on_terminal, print_json
from cli.screen import Screen
from cli.settings_source import load_settings
from cli.status import STYLES, page
from cli.today_page import as_json as today_json
from service.settings import Settings

if TYPE_CHECKING:
    from service.db.pool import Pool
    from service.usecases.today import DayHours, Today

_READ_SECONDS = 5.0


def top(
    every: Annotated[float, typer.Option(min=0.5, max=3600, help="Seconds between two readings.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the figures once, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show today's figures as they change: paid, waiting, problems, parked, PortOne's health. Ctrl-C ends it.

    In a pipe it prints them once; with --json one object for each reading.
    """
    settings = load_settings().require("database_url")
    if as_json:
        asyncio.run(_print_readings(settings, every, once=once))
    elif once or not on_terminal():
        asyncio.run(_print_once(settings))
    else:
        asyncio.run(_live(settings, every))


async def _print_once(settings: Settings) -> None:
    async with _open(settings) as pool:
        today, screen = await _read(pool, settings), Screen()
    for line in page(today):
        screen.text(line)


async def _print_readings(settings: Settings, every: float, *, once: bool) -> None:
    async with _open(settings) as pool:
        print_json(today_json(await _read(pool, settings)))
        while not once:
            await asyncio.sleep(every)
            print_json(today_json(await _read(pool, settings)))


async def _live(settings: Settings, every: float) -> None:
    """Show each reading in the place of the last. While one cannot be had, a sentence says why."""
    from service.usecases.today import DayHours

    hours = DayHours()
    async with _open(settings) as pool:
        with Live(Text("  …"), console=Console(highlight=False), screen=True, auto_refresh=False) as live:
            while True:
                live.update(await _screen(pool, settings, hours), refresh=True)
                await asyncio.sleep(every)


async def _screen(pool: "Pool", settings: Settings, hours: "DayHours") -> RenderableType:
    try:
        today = await _read(pool, settings, hours)
    except Exception as error:
        sentence = in_a_sentence(error)
        if sentence is None:
            raise
        return Text(f"  {sentence}", STYLES["bad"])
    head = Text(f"portone-orders, {today.at.astimezone():%Y-%m-%d %H:%M:%S}, Ctrl-C ends it\n", "bold")
    return Group(head, *page(today))


@asynccontextmanager
async def _open(settings: Settings) -> "AsyncIterator[Pool]":
    from service.db.pool import open_pool

    pool = await open_pool(settings.database_url.get_secret_value(), 1)
    try:
        yield pool
    finally:
        pool.terminate()


async def _read(pool: "Pool", settings: Settings, hours: "DayHours | None" = None) -> "Today":
    from service.db.pool import answered_within
    from service.usecases.today import read_today

    return await answered_within(_READ_SECONDS, read_today(pool, settings, hours))
