"""Every command that the pages show is run, against what `make run` starts."""

import asyncio
import contextlib
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from aiohttp import web

from cli.embedded.homes import remove_home
from cli.main import app
from docs.site import pages
from tests.cli.dev_run import READY, dev
from tests.docs.shell_blocks import NOT_RUN, shell_blocks, unlabelled_commands
from tests.ports import own_port

_PATIENCE_SECONDS = 200
# The runbook's first: its `doctor` fails once another page's payments have a problem.
_BLOCKS = sorted(
    (block for block in shell_blocks() if block.key not in NOT_RUN), key=lambda block: block.page != "docs/runbook.md"
)

# What a page says of an answer, where a block begins so.
PROMISED = {
    ". .run/env; curl -s -X POST $BASE_URL/orders": ('"state":"pending"', '{"merchant_uid":"order-1","state":"paid"}'),
    ". .run/env\n": ('{"merchant_uid":"order-2","state":"paid"}', '"closed":"withdrawn"'),
}
SETTINGS = {"ENDPOINTS_IN_PRIVATE_NETWORKS": "true"}  # the endpoint of docs/webhooks.md is on this machine here
# A reader puts a key that he has in place of the page's.
_FIRST_KEY = "$(portone-orders keys list | grep -o 'pok_[A-Za-z0-9_-]*' | head -1)"


def test_a_block_of_commands_says_so() -> None:
    """Each block that is for a terminal is labelled `sh`, so that it is run."""
    assert unlabelled_commands() == []


def test_what_is_not_run_is_still_shown() -> None:
    """Each exception names a block that a page shows today."""
    assert NOT_RUN.keys() <= {block.key for block in shell_blocks()}


@pytest.mark.timeout(600)  # each of two dozen commands starts an interpreter
async def test_every_block_works_beside_make_run(tmp_path: Path) -> None:
    """All blocks are copied into one shell after the other, as they are printed, and no command fails."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    async with (
        endpoint() as address,
        _removed_at_the_end(tmp_path),
        dev(tmp_path, **SETTINGS) as run,
    ):
        await run.until(READY)
        for block in _BLOCKS:
            text = block.text.replace("https://warehouse.example/hooks", address)
            output = await _shell(text.replace("pok_1a2b3c4d", _FIRST_KEY), tmp_path)
            assert not re.search(r"^\{.*urn:portone-orders:problem:", output, re.MULTILINE), output
            for begin, answers in PROMISED.items():
                if block.text.startswith(begin):
                    assert [answer for answer in answers if answer not in output] == [], output


@contextlib.asynccontextmanager
async def _removed_at_the_end(folder: Path) -> AsyncIterator[None]:
    """Remove the data that root's Postgres keeps outside of the folder."""
    try:
        yield
    finally:
        remove_home(folder / ".run" / "postgres")


@contextlib.asynccontextmanager
async def endpoint() -> AsyncIterator[str]:
    """Take the webhooks of the page's endpoint. Yields its address."""
    application = web.Application()
    application.router.add_post("/hooks", _take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port := own_port()).start()
        yield f"http://127.0.0.1:{port}/hooks"
    finally:
        await runner.cleanup()


async def _take(_request: web.Request) -> web.Response:
    return web.Response(status=204)


async def _shell(text: str, folder: Path) -> str:
    """Run a block in a shell that ends at the first command that fails. Returns what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", f". .run/env\n{text}"),
        cwd=folder,
        env=os.environ | SETTINGS | {"PATH": path, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_PATIENCE_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, f"{text}\n{output.decode()}"
    return output.decode()


# A name in capitals stands for the reader's own.
_IN_PROSE = sorted(
    {
        command
        for page in pages()
        if "decisions" not in page.parts
        for command in re.findall(r"`portone-orders ([a-z][^`\n]*)`", page.read_text("utf-8"))
    }
)


@pytest.mark.parametrize("command", _IN_PROSE)
def test_every_command_in_a_sentence_can_be_typed(command: str) -> None:
    """Each `portone-orders …` exists, and takes these options and arguments."""
    target: Any = typer.main.get_command(app)
    words = shlex.split(command.replace("NOTICE_ID", str(uuid4())))
    while words and hasattr(target, "commands") and not words[0].startswith("-"):
        target = target.commands[words.pop(0)]
    if (not hasattr(target, "commands") or words) and (
        words or not any(parameter.required for parameter in target.params)
    ):
        target.make_context(command, words)
