"""Restart a part that dies, after a pause that grows while it keeps dying."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from cli.errors import CommandFailed
from cli.processes import Process, ending
from cli.screen import Screen

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_SECONDS = 10.0  # a process that ran this long started well


@dataclass(frozen=True)
class Part:
    """A process, and how to start it and wait until it is ready."""

    process: Process
    start: Callable[[], Awaitable[None]]


async def keep_running(part: Part, screen: Screen) -> None:
    """Restart the part each time it ends, until cancelled."""
    pause, process = _FIRST_PAUSE_SECONDS, part.process
    while True:
        began = time.monotonic()
        code = await process.ended()
        if time.monotonic() - began > _STEADY_SECONDS:
            pause = _FIRST_PAUSE_SECONDS
        screen.warn(f"{process.last_words(f'ended, {ending(code)}')} It is started again in {pause:g} s.")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        with suppress(CommandFailed, OSError):  # the next turn of the loop reports it
            await part.start()
            screen.done(f"{process.program.name} runs again")
