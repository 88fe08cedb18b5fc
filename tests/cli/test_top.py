"""`top` shows today's figures: live on a terminal, once in a pipe, and as JSON for programs."""

import asyncio
import json
import os
import pty
import signal
import sys
from pathlib import Path

from cli.exit_codes import ExitCode
from service.settings import Settings
from tests.cli.conftest import Commands
from tests.cli.dev_run import environment
from tests.cli.test_commands import variables_of


async def test_in_a_pipe_the_figures_are_printed_once(commands: Commands) -> None:
    """Without a terminal `top` prints the page and ends; --json has the same figures."""
    await commands.run("order", "register", "order-1", "64900")
    await commands.sandbox.pay("order-1", 64900)
    await commands.service.becomes("order-1", state="paid")
    page = await commands.run("top")
    assert "  paid       1 order within a day, 1 in the last minute\n" in page
    assert json.loads(await commands.run("top", "--once", "--json"))["paid"] == 1


async def test_on_a_terminal_it_runs_until_ctrl_c(tmp_path: Path, settings: Settings) -> None:
    """On a terminal `top` draws the page, says so while Postgres is away, and Ctrl-C gives the screen back."""
    drawn = await _draw(tmp_path, variables_of(settings), b"within a day")
    assert b"Ctrl-C ends it" in drawn
    away = {"DATABASE_URL": "postgresql://shop@127.0.0.1:1/orders"}
    assert b"Postgres cannot be used, because" in await _draw(tmp_path, away, b"DATABASE_URL")


async def _draw(folder: Path, variables: dict[str, str], text: bytes) -> bytes:
    """Run `top` on a terminal of its own until it has drawn the text, then press Ctrl-C."""
    ours, theirs = pty.openpty()
    terminal = {"TERM": "xterm", "COLUMNS": "120", "LINES": "40", "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "top", "--every", "0.5"),
        cwd=folder,
        env=environment(folder, variables | terminal),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    async with asyncio.timeout(60):
        while text not in drawn:
            drawn += await asyncio.to_thread(os.read, ours, 65_536)
        process.send_signal(signal.SIGINT)
        while chunk := await asyncio.to_thread(_read, ours):
            drawn += chunk
        assert await process.wait() == ExitCode.STOPPED
    os.close(ours)
    assert b"\x1b[?1049l" in drawn  # the terminal's own screen is back
    assert b"\x1b[31m" not in drawn
    assert b"Traceback" not in drawn
    return drawn


def _read(terminal: int) -> bytes:
    """Return what the terminal got; nothing once its program has ended, which Linux tells by an error."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
