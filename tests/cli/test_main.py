"""Every command ends in order: with its exit code, in at most one sentence, and quietly where nobody listens."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.exit_codes import MEANINGS, ExitCode
from service.settings import Settings
from tests.cli.dev_run import environment
from tests.cli.test_commands import run
from tests.running import SERVICE_KEY, running_receiver


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("migrat",), "No such command 'migrat'. Did you mean 'migrate'? See `python -m cli.main --help`.\n"),
        (("order", "show"), "Missing argument 'MERCHANT_UID': see `python -m cli.main order show --help`.\n"),
        (("order", "list", "--limit", "0"), "Invalid value for '--limit': "),
        (("order", "list", "--state", "eaten"), "Invalid value for '--state': "),
    ],
)
async def test_a_wrong_call_is_one_sentence(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    """A command that is called wrongly says in a sentence what to do, and ends with 2."""
    code, output = await run(tmp_path, *words)
    assert (code, output.count("\n")) == (ExitCode.REFUSED, 1)
    assert output.startswith(sentence)


async def test_help_has_the_exit_codes(tmp_path: Path) -> None:
    """`--help` names every exit code and its meaning."""
    code, output = await run(tmp_path, "--help", COLUMNS="300")
    assert code == ExitCode.DONE
    for number, meaning in MEANINGS.items():
        assert f"{number.value}: {meaning}" in output


def _shell(folder: Path, line: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    portone_orders = f'portone_orders() {{ "{sys.executable}" -m cli.main "$@"; }}; '
    return subprocess.run(
        ("bash", "-c", portone_orders + line),
        cwd=folder, env=environment(folder, variables), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    """`portone-orders … | head` prints no error, and the command ends with 141, as others do."""
    line = "portone_orders settings | true; echo ${PIPESTATUS[0]}"
    ended = await asyncio.to_thread(_shell, tmp_path, line, {})
    assert ended.stdout == f"{ExitCode.UNREAD.value}\n"
    assert "Traceback" not in ended.stderr
    assert "Broken" not in ended.stderr


async def test_ctrl_c_ends_it_quietly(tmp_path: Path, settings: Settings) -> None:
    """Ctrl-C ends a command that follows, without a word, with 130."""
    async with running_receiver(settings) as receiver:
        await receiver.register("order-1")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "events", "follow", "--from", "oldest"),
            cwd=tmp_path,
            env=environment(tmp_path, {"BASE_URL": receiver.url, "SERVICE_KEY": SERVICE_KEY}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        assert b"order-1" in await asyncio.wait_for(process.stdout.readline(), 60)  # in a pipe each line comes at once
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.communicate(), 60) == (b"", b"")
    assert process.returncode == ExitCode.STOPPED


async def test_the_shell_completes_commands_and_values(tmp_path: Path) -> None:
    """Completion offers commands, options and the values of an option."""
    for words, offered in (("portone-orders ord", "order"), ("portone-orders order list --state mis", "mismatched")):
        variables = {
            "_PORTONE_ORDERS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        program = "import sys; sys.argv[0] = 'portone-orders'; from cli.main import main; main()"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program),
            cwd=tmp_path,
            env=environment(tmp_path, variables),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert output.decode().split() == [offered]


def test_a_start_imports_no_library_that_its_command_may_not_use() -> None:
    """The command's start, which people wait for, imports no library of HTTP, of a database or of logs."""
    program = "import sys, cli.main; print({'aiohttp', 'asyncpg', 'redis', 'structlog'} & sys.modules.keys())"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output == "set()\n"
