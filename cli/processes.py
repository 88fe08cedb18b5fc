"""Start, watch and stop the programs that `dev` needs, and stop those that a crashed run left behind."""

import asyncio
import errno
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

# The signals in their order, each with the seconds that it may take.
StopPlan = tuple[tuple[Signals, float], ...]
GENTLE: StopPlan = ((Signals.SIGTERM, 15.0), (Signals.SIGKILL, 5.0))

_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.1  # for hours: ten checks a second cost almost nothing
_TAIL_BYTES = 4000
_DISK_FULL = os.strerror(errno.ENOSPC)
_LAUNCH = Path(__file__).parent / "embedded" / "launch.py"


@dataclass(frozen=True)
class Program:
    """A program to run, and the way to stop it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(repr=False)
    cwd: Path = field(default_factory=Path.cwd)
    stop_plan: StopPlan = GENTLE
    account: Account | None = None
    # The file that names the process, so that the next run finds it after a crash of this one.
    record: Path | None = None


class Process:
    """A program in its own session, so the terminal's Ctrl-C does not reach it. On Linux it ends when we die."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_begins_at = 0  # what earlier processes wrote before is not ours

    def start(self) -> None:
        """Start it. Call this from the main thread: Linux ends a child when the thread that made it ends."""
        program, account = self.program, self.program.account
        self._log_begins_at = program.log.stat().st_size if program.log.exists() else 0
        ids = (account.uid, account.gid) if account else (-1, -1)
        launch = (os.getpid(), int(program.stop_plan[0][0]), *ids)
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
        """Wait until it ends. Returns the exit code, which is negative if a signal ended it."""
        await _poll(lambda: not self.running, _WATCH_SECONDS)
        return -1 if self._popen is None else self._popen.returncode

    async def stop(self) -> None:
        if self._popen is not None:
            await _stop(self._popen.send_signal, lambda: self.running, self.program.stop_plan)
        if self.program.record:
            self.program.record.unlink(missing_ok=True)

    async def finish(self, seconds: float) -> None:
        """Wait until it has done its work. Raises CommandFailed if it fails or takes too long."""
        async with self._within(seconds, "has not ended"):
            await _poll(lambda: not self.running)
        if self._popen is None or self._popen.returncode != 0:
            raise CommandFailed(self.last_words("failed"))

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until the probe returns True. Raises CommandFailed if the process ends first, or the time is up."""
        async with self._within(seconds, "is not ready"):
            while not await probe():
                if not self.running:
                    raise CommandFailed(self.last_words("ended while starting"))
                await asyncio.sleep(_POLL_SECONDS)

    @asynccontextmanager
    async def _within(self, seconds: float, delay: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise CommandFailed(self.last_words(f"{delay} after {seconds:.0f} s")) from None

    def last_words(self, event: str) -> str:
        """Return a sentence about it, with the last line of its log if that line is for people.

        A full disk is named whatever the last line says: initdb, for one, ends with that it tidies up.
        """
        name, log = self.program.name, self.program.log
        lines = tail(log, self._log_begins_at).strip().splitlines()
        if full := [line for line in lines if _DISK_FULL in line]:
            return f"{name[0].upper()}{name[1:]} {event}, because a disk is full ({full[-1][:300]}): free space on it."
        last = lines[-1][:300] if lines else ""
        quote = f" ({last})" if last and not last.startswith("{") else ""
        return f"{name[0].upper()}{name[1:]} {event}{quote}: see {log}."


async def stop_recorded(record: Path, plan: StopPlan) -> int | None:
    """Stop the process that a crashed run recorded. Returns its pid, or None if there was nothing to stop."""
    words = (read_or_none(record) or "").split(maxsplit=1)
    if len(words) != 2 or not words[0].isdigit() or birth(int(words[0])) != words[1]:
        return None
    await stop_process(int(words[0]), plan)
    return int(words[0])


async def stop_process(pid: int, plan: StopPlan) -> None:
    """Stop a process that is not our child."""
    born = birth(pid)
    await _stop(lambda number: os.kill(pid, number), lambda: born != "" and birth(pid) == born, plan)


def command_line(pid: int) -> str:
    """Return the command line of a process, or an empty string if it is gone."""
    if sys.platform == "linux":
        return (read_or_none(Path(f"/proc/{pid}/cmdline")) or "").replace("\0", " ")
    return _ps(pid, "command=")


def tail(log: Path, begins_at: int = 0) -> str:
    """Return the end of a log, from `begins_at` on."""
    try:
        with log.open("rb") as file:
            file.seek(max(begins_at, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
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


async def _poll(condition: Callable[[], bool], pause_seconds: float = _POLL_SECONDS) -> None:
    while not condition():  # noqa: ASYNC110 - no system call reports these ends on all systems
        await asyncio.sleep(pause_seconds)


def birth(pid: int) -> str:
    """Return when a process began, which tells it from a later one with the same pid. Empty if it is gone."""
    if sys.platform != "linux":
        return _ps(pid, "lstart=")
    stat = read_or_none(Path(f"/proc/{pid}/stat")) or ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return "" if not fields or fields[0] == "Z" else fields[19]


def _ps(pid: int, column: str) -> str:
    result = subprocess.run(["ps", "-ww", "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def ending(code: int) -> str:
    """Return how a process ended, in words."""
    return f"exit code {code}" if code >= 0 else f"signal {Signals(-code).name}"
