"""Run `portone-orders dev` as a child process, in the test's own folder and on its own ports."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli.processes import birth
from tests.ports import own_port

REPOSITORY = Path(__file__).parents[2]
READY = "portone-orders is ready"
_PATIENCE_SECONDS = 60


@dataclass
class DevRun:
    """A running command, and the lines that it has printed."""

    process: asyncio.subprocess.Process
    state_dir: Path
    lines: list[str] = field(default_factory=list)

    async def until(self, text: str) -> str:
        """Read until a line contains the text. Returns the line."""
        assert self.process.stdout
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line.rstrip())
                if text in line:
                    return line
        raise AssertionError(f"{text!r} was never printed:\n" + "\n".join(self.lines))

    async def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await self.rest()

    async def rest(self) -> int:
        """Read to the end. Returns the exit code."""
        assert self.process.stdout
        async with asyncio.timeout(_PATIENCE_SECONDS):
            self.lines += (await self.process.stdout.read()).decode().splitlines()
            return await self.process.wait()

    def env_file(self) -> dict[str, str]:
        lines = (self.state_dir / "env").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def pids(self) -> dict[str, int]:
        """Return the pids of the recorded processes and of the embedded Postgres."""
        pids = {file.name: int(file.read_text().split()[0]) for file in (self.state_dir / "pids").iterdir()}
        return pids | {"postgres": int(postmaster_pid(self.state_dir / "postgres").read_text().split()[0])}


def postmaster_pid(folder: Path) -> Path:
    elsewhere = folder / "elsewhere"
    home = Path(elsewhere.read_text()) if elsewhere.exists() else folder
    return home / "data" / "postmaster.pid"


@asynccontextmanager
async def dev(folder: Path, **settings: str) -> AsyncIterator[DevRun]:
    """Run `dev`. It is stopped at the end in any case."""
    async with command(folder, "dev", **settings) as run:
        yield run


@asynccontextmanager
async def command(folder: Path, *words: str, **settings: str) -> AsyncIterator[DevRun]:
    """Run a command that runs until it is told to stop."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *words),
        cwd=folder,
        env=environment(folder, settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    run = DevRun(process, folder / ".run")
    try:
        yield run
    finally:
        if process.returncode is None:
            await run.end()


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with ports that no other test has, and a TMPDIR that would show a stray folder.

    Its PATH has no redis-server, so that every machine's tests run on the wheel's.
    """
    ports = {name: str(own_port()) for name in ("PORT", "SANDBOX_PORT")}
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(one for one in folders if not (Path(one) / "redis-server").exists())
    own = {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder), "PATH": path}
    return os.environ | own | ports | dict(settings)


async def shell(command: str) -> str:
    process = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        output, _ = await process.communicate()
    return output.decode()


async def gone(pid: int) -> None:
    """Wait until the process has ended."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while birth(pid):  # noqa: ASYNC110 - nothing announces the end of another's child
            await asyncio.sleep(0.02)
