"""Two receivers behind nginx and two workers, each of which can be restarted with the code of another version."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from bench import load
from bench.databases import Databases
from bench.systems import SYSTEMS, Launcher
from bench.usage import cpu_seconds_by_part
from cli.errors import CommandFailed
from cli.ports import free_port
from cli.processes import Process, Program
from faults.nginx import find_nginx, nginx_words, receivers_at

KINDS = RECEIVERS, WORKERS = "receivers", "workers"
_START_SECONDS = 60.0
_MIGRATE_SECONDS = 300.0
_NGINX_CONNECTIONS = 4096
# The example without TLS, which the load generator does not speak, and without the port that leads there.
_WITHOUT_TLS = {
    "    ssl_certificate /etc/nginx/orders.shop.example.crt; # yours\n": "",
    "    ssl_certificate_key /etc/nginx/orders.shop.example.key; # yours\n": "",
}
# The first sweep of a worker that has come to its end shows that the worker works.
_WORKS = "SELECT EXISTS (SELECT FROM processes WHERE kind = 'worker' AND pid = $1 AND worked_at IS NOT NULL)"


class Fleet:
    """The processes, by kind and place. `port` is nginx's."""

    def __init__(self, databases: Databases, launcher: Launcher, folder: Path) -> None:
        self._databases, self._launcher, self._folder = databases, launcher, folder
        self._ports = (free_port(), free_port())
        self._running: dict[tuple[str, int], Process] = {}
        self._nginx: Process | None = None
        # The CPU seconds of processes that were stopped.
        self._ended: Counter[str] = Counter()
        self.port = free_port()

    async def migrate(self, tree: Path) -> None:
        command = SYSTEMS["ours"].receiver[0]
        process = self._launcher.process("migrate", (command, "migrate"), {}, tree)
        try:
            process.start()
            await process.finish(_MIGRATE_SECONDS)
        finally:
            await process.stop()

    async def restart(self, kind: str, place: int, tree: Path) -> None:
        """Stop a process, if it runs, and start it with the code of the tree. Returns once it works."""
        if running := self._running.get((kind, place)):
            self._ended.update(await asyncio.to_thread(cpu_seconds_by_part, {kind: [running.pid]}))
            await running.stop()
        make = self._receiver if kind == RECEIVERS else self._worker
        process = self._running[kind, place] = make(place, tree)
        process.start()
        await process.wait_ready(lambda: self._works(kind, place), _START_SECONDS)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds that each part has used, the load generator's too. It takes some ten milliseconds."""
        running = {kind: [one.pid for (k, _), one in self._running.items() if k == kind] for kind in KINDS}
        others = {
            "nginx": self._nginx,
            "Postgres": self._databases.postgres,
            "Redis": self._databases.redis,
            "stand-in for PortOne": self._launcher.standin,
        }
        used = cpu_seconds_by_part(
            running | {part: [process.pid if process else None] for part, process in others.items()}
        )
        return {part: used[part] + self._ended[part] for part in used} | {"load generator": time.process_time()}

    @contextlib.asynccontextmanager
    async def behind_nginx(self) -> AsyncIterator[None]:
        """Run nginx. All processes are stopped at the end."""
        nginx = self._nginx = self._make_nginx()
        try:
            nginx.start()
            await nginx.wait_ready(self._answers, _START_SECONDS)
            yield
        finally:
            await nginx.stop()
            await asyncio.gather(*(process.stop() for process in self._running.values()))

    def _receiver(self, place: int, tree: Path) -> Process:
        variables = {"PORT": str(self._ports[place]), "TRUSTED_PROXIES": "127.0.0.1"}
        return self._launcher.process(f"receiver {place}", SYSTEMS["ours"].receiver, variables, tree)

    def _worker(self, place: int, tree: Path) -> Process:
        return self._launcher.process(f"worker {place}", SYSTEMS["ours"].worker, {}, tree)

    async def _works(self, kind: str, place: int) -> bool:
        if kind == RECEIVERS:
            return await _ready(self._ports[place])
        async with self._databases.session() as db:
            return bool(await db.fetchval(_WORKS, self._running[kind, place].pid))

    async def _answers(self) -> bool:
        """Return whether nginx answers anything: no receiver runs yet."""
        return bool(await _answer(self.port, "/readyz"))

    def _make_nginx(self) -> Process:
        path = find_nginx()
        if path is None:
            raise CommandFailed("There is no nginx: run `make nginx`.")
        changes = {
            **receivers_at(self._ports, self._folder),
            **_WITHOUT_TLS,
            "listen 80;": f"listen 127.0.0.1:{free_port()};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port};",
        }
        words = nginx_words(path, self._folder, changes, _NGINX_CONNECTIONS)
        return Process(Program("nginx", words, self._folder / "nginx.log", {}, self._folder))


async def _ready(port: int) -> bool:
    return b"ok" in await _answer(port, "/readyz")


async def _answer(port: int, path: str) -> bytes:
    """Return the answer's body, or nothing if nobody listens."""
    try:
        return await load.ask(port, load.get(path))
    except OSError:
        return b""
