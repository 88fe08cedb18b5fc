"""PgBouncer before a Postgres of ours, as deploy/pgbouncer/pgbouncer.ini sets it, for tests and measurements.

`python -m faults.pooler` says by its exit code whether there is one.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from cli.embedded.account import unprivileged
from cli.errors import CommandFailed
from cli.ports import free_port
from cli.processes import Process, Program

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "pgbouncer" / "pgbouncer.ini"
# The first with prepared statements in transaction mode.
_OLDEST = (1, 21)
_START_SECONDS = 20.0


def find_pgbouncer() -> str | None:
    """Return the program that PGBOUNCER names, or the one of `make pgbouncer`, or PATH's; None if it is too old."""
    searched = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"
    path = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=searched)
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    return path if version and (int(version[1]), int(version[2])) >= _OLDEST else None


class Pooler:
    """A running PgBouncer. `process` can be stopped and started again."""

    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port = process, port

    def url(self, database_url: str) -> str:
        """Return the address of this database behind the pooler."""
        parts = urlsplit(database_url)
        return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self.port}").geturl()

    async def start(self) -> None:
        self.process.start()
        await self.process.wait_ready(self._listens, _START_SECONDS)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


def make_pooler(folder: Path, database_url: str, changes: Mapping[str, str] = MappingProxyType({})) -> Pooler:
    """Make a PgBouncer before the server of this address, for all its databases. `changes`: other values.

    Raises CommandFailed.
    """
    program, port = find_pgbouncer(), free_port()
    if program is None:
        raise CommandFailed("There is no PgBouncer 1.21 or newer: run `make pgbouncer`, or name one in PGBOUNCER.")
    server, file, users = urlsplit(database_url), folder / "pgbouncer.ini", folder / "userlist.txt"
    own = {
        "portone_orders = host=127.0.0.1 port=5432 dbname=portone_orders": f"* = host=127.0.0.1 port={server.port}",
        "listen_port = 6432": f"listen_port = {port}",
        "/etc/pgbouncer/userlist.txt": str(users),
    }
    users.write_text(f'"{server.username}" "{server.password}"\n', "utf-8")
    text = CONFIGURATION.read_text("utf-8")
    for old, new in own.items():
        text = _replaced(re.escape(old), new, text)
    for name, value in changes.items():
        text = _replaced(rf"^{name} = .*$", f"{name} = {value}", text)
    file.write_text(text, "utf-8")
    for each in (users, file):
        each.chmod(0o644)  # PgBouncer does not run as root: root's becomes `nobody`
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    argv = (program, "--quiet", str(file))
    log = folder / "pgbouncer.log"
    return Pooler(Process(Program("PgBouncer", argv, log, environment, folder, account=unprivileged())), port)


def _replaced(pattern: str, new: str, text: str) -> str:
    changed, count = re.subn(pattern, lambda _: new, text, flags=re.MULTILINE)
    if count != 1:
        raise CommandFailed(f"{CONFIGURATION} has {pattern} {count} times.")
    return changed


if __name__ == "__main__":
    sys.exit(find_pgbouncer() is None)
