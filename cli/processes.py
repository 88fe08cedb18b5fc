"""Starting, watching and stopping the programs that `dev` needs, and ending what a crash left behind."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from cli.embedded.account import Account
from cli.errors import CommandFailed
from cli.files import read_or_none, write_private

# Each signal in turn, and how many seconds it may take.
StopPlan = tuple[tuple[Signals, float], ...]
GENTLE: StopPlan = ((Signals.SIGTERM, 15.0), (Signals.SIGKILL, 5.0))

_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.1  # for hours on end: ten looks a second cost nothing to speak of
_TAIL_BYTES = 4000
_LAUNCH = Path(__file__).parent / "embedded" / "launch.py"


@dataclass(frozen=True)
class Program:
    """What to run, and how it likes to be stopped."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(repr=False)
    cwd: Path = field(default_factory=Path.cwd)
    stop_plan: StopPlan = GENTLE
    account: Account | None = None
    # Where the process is written down, so that the next run finds it after a crash of this one.
    record: Path | None = None


class Process:
    """A program in a session of its own, out of reach of the terminal's Ctrl-C; it ends when we die (Linux)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Call it from the main thread: on Linux a child is told of the death of the thread that made it."""
        program, account = self.program, self.program.account
        who = (account.uid, account.gid) if account else (-1, -1)
        launch = (os.getpid(), int(program.stop_plan[0][0]), *who)
        with os.fdopen(os.open(program.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCH), *map(str, launch), *program.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(program.env),
                cwd=program.cwd,
                start_new_session=True,
            )
        if program.record:
            write_private(program.record, f"{self._popen.pid} {birth(self._popen.pid)}")

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative when a signal ended it."""
        await _poll(lambda: not self.running, _WATCH_SECONDS)
        return -1 if self._popen is None else self._popen.returncode

    async def stop(self) -> None:
        if self._popen is not None:
            await _stop(self._popen.send_signal, lambda: self.running, self.program.stop_plan)
        if self.program.record:
            self.program.record.unlink(missing_ok=True)

    async def finish(self, seconds: float) -> None:
        """Wait for it to do its work and end. Raises CommandFailed when it fails or takes too long."""
        async with self._within(seconds, "has not ended"):
            await _poll(lambda: not self.running)
        if self._popen is None or self._popen.returncode != 0:
            raise CommandFailed(self.last_words("failed"))

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until the probe says yes. Raises CommandFailed when the process ends first, or the time is up."""
        async with self._within(seconds, "is not ready"):
            while not await probe():
                if not self.running:
                    raise CommandFailed(self.last_words("ended while starting"))
                await asyncio.sleep(_POLL_SECONDS)

    @asynccontextmanager
    async def _within(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise CommandFailed(self.last_words(f"{what} after {seconds:.0f} s")) from None

    def last_words(self, what: str) -> str:
        """A sentence about it, with what it said last if that is for people."""
        name, log = self.program.name, self.program.log
        last = tail(log).strip().rpartition("\n")[2][:300]
        said = f" ({last})" if last and not last.startswith("{") else ""
        return f"{name[0].upper()}{name[1:]} {what}{said}: see {log}."


async def stop_recorded(record: Path, plan: StopPlan) -> int | None:
    """End the process that a run which crashed wrote down; its pid, or None where there was nothing to end."""
    words = (read_or_none(record) or "").split(maxsplit=1)
    if len(words) != 2 or not words[0].isdigit() or birth(int(words[0])) != words[1]:
        return None
    await stop_process(int(words[0]), plan)
    return int(words[0])


async def stop_process(pid: int, plan: StopPlan) -> None:
    """End a process that is not our child."""
    born = birth(pid)
    await _stop(lambda number: os.kill(pid, number), lambda: born != "" and birth(pid) == born, plan)


def command_line(pid: int) -> str:
    """The command line of a process, empty when there is none."""
    if sys.platform == "linux":
        return (read_or_none(Path(f"/proc/{pid}/cmdline")) or "").replace("\0", " ")
    return _ps(pid, "command=")


def tail(log: Path) -> str:
    """The end of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


async def _stop(send: Callable[[int], object], alive: Callable[[], bool], plan: StopPlan) -> None:
    for number, seconds in plan:
        if not alive():
            return
        try:
            send(number)
        except ProcessLookupError:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _poll(lambda: not alive())


async def _poll(done: Callable[[], bool], pause_seconds: float = _POLL_SECONDS) -> None:
    while not done():  # noqa: ASYNC110 - nothing tells us of these ends on all systems alike
        await asyncio.sleep(pause_seconds)


def birth(pid: int) -> str:
    """When a process began: with its pid, what tells it from a later one of the same number. Empty when gone."""
    if sys.platform != "linux":
        return _ps(pid, "lstart=")
    stat = read_or_none(Path(f"/proc/{pid}/stat")) or ""
    fields = stat.rpartition(")")[2].split()  # what stands before may hold spaces
    return "" if not fields or fields[0] == "Z" else fields[19]


def _ps(pid: int, column: str) -> str:
    asked = subprocess.run(["ps", "-ww", "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"exit code {code}" if code >= 0 else f"signal {Signals(-code).name}"
