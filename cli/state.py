"""STATE_DIR: the files that `dev` keeps between runs, and the lock that allows one run at a time."""

import fcntl
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from cli.errors import CommandFailed
from cli.files import remember, write_private

# A larger log is renamed at the next start. One old log is kept.
_LOG_MAX_BYTES = 20 * 2**20


class StateDir:
    """The folder, made private (0700) and locked until this process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self._make_folders()
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CommandFailed(
                f"STATE_DIR ({self.path}) cannot be used ({error.strerror}): make it a folder that you may write to,"
                " or set STATE_DIR to another."
            ) from error
        self._take_lock()

    def log(self, name: str) -> Path:
        """Return the path of one process's log."""
        path = self.path / "logs" / f"{name}.log"
        if path.exists() and path.stat().st_size > _LOG_MAX_BYTES:
            path.replace(path.with_suffix(".log.old"))
        return path

    def record(self, name: str) -> Path:
        """Return the path of the file that names the process while it runs."""
        return self.path / "pids" / name

    def secret(self, name: str) -> str:
        """Return a secret of this folder, which is made the first time."""
        return remember(self.path / "secrets" / name)

    @property
    def env_file(self) -> Path:
        return self.path / "env"

    def write_env(self, values: Mapping[str, str]) -> None:
        """Write the file for shells to source: `. STATE_DIR/env`."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
        write_private(self.env_file, "".join(lines))

    def _make_folders(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("logs", "pids", "secrets"):
            (self.path / name).mkdir(mode=0o700, exist_ok=True)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode() or "?"
            raise CommandFailed(
                f"`make run` is already running in {self.path} (pid {holder}):"
                " stop it first, or set STATE_DIR, PORT and SANDBOX_PORT for a second one."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
