"""The systems under test: the processes of each, and how they are started and stopped."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.databases import Databases
from cli.ports import free_port
from cli.processes import Process, Program

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "bench" / ".venv" / "bin"  # programs that only the benchmark needs
WEBHOOKS = "/webhooks/portone/v1"
SERVICE_KEY = "bench-service-key"
_START_SECONDS = 30.0
_POLL_SECONDS = 0.02

# The limits are on, as in production, but above what this machine can reach: one client stands for all clients, and
# the stand-in, unlike PortOne, does not limit calls.
_UNBOUND = dict.fromkeys(
    (
        "WEBHOOKS_PER_CLIENT",
        "WEBHOOKS_PER_SECOND",
        "COMPLETIONS_PER_CLIENT",
        "COMPLETIONS_PER_SECOND",
        "CONFIRMATIONS_PER_CLIENT",
        "CALLS_PER_SECOND",
    ),
    "1000000",
)


@dataclass(frozen=True)
class System:
    """A system. `{port}` in the receiver's words is its port. Without a worker the request itself settles."""

    name: str
    title: str
    receiver: tuple[str, ...]
    worker: tuple[str, ...] = ()
    # About how many payments it settles in a second, to size the first measurement.
    guess: int = 1000
    # SQL that makes tables of its own, beside those of the service.
    tables: str = ""
    # What its processes find in their environment besides.
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A system's processes."""

    port: int
    receiver: Process
    workers: list[Process] = field(default_factory=list)
    # Further receivers, by their port.
    more_receivers: dict[int, Process] = field(default_factory=dict)


def _ours() -> System:
    command = str(Path(sys.executable).with_name("portone-orders"))
    return System("ours", "portone-orders", (command, "serve"), (command, "worker"), guess=4000)


def _queue(name: str, title: str, python: Path, worker: tuple[str, ...], guess: int) -> System:
    receiver = (str(python), "-m", "bench.alternatives.receiver", name, "{port}")
    return System(name, title, receiver, worker, guess)


def _express(name: str, title: str, *mode: str) -> System:
    server = ROOT / "bench" / "alternatives" / "express" / "server.js"
    return System(name, title, (shutil.which("node") or "node", str(server), "{port}", *mode), guess=1000)


def _plain() -> System:
    receiver = (str(_HERE), "-m", "bench.alternatives.plain", "{port}")
    tables = (ROOT / "bench" / "alternatives" / "plain.sql").read_text("utf-8")
    return System("plain", "plain aiohttp and asyncpg", receiver, tables=tables)


def _arq(name: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("arq")), f"bench.alternatives.{name}.WorkerSettings")


_HERE = Path(sys.executable)
_SAQ = (str(TOOLS / "saq"), "--quiet", "bench.alternatives.saq_tuned.settings")
_TASKIQ = (
    str(TOOLS / "taskiq"), "worker", "bench.alternatives.taskiq_tuned:broker", "--workers", "1", "--max-async-tasks",
    "100", "--max-prefetch", "100", "--no-parse", "--log-level", "WARNING",
)  # fmt: skip

SYSTEMS = {
    system.name: system
    for system in (
        _ours(),
        _express("express_cached", "Express, cached token", "cached"),
        _express("express", "Express, token per request"),
        _express("express_lean", "Express, leaner than the guide", "lean"),
        _queue("arq_plain", "arq as documented", _HERE, _arq("arq_plain"), 200),
        _queue("arq_tuned", "arq tuned", _HERE, _arq("arq_tuned"), 1000),
        _queue("saq_tuned", "SAQ tuned", TOOLS / "python", _SAQ, 1200),
        _queue("taskiq_tuned", "taskiq tuned", TOOLS / "python", _TASKIQ, 1200),
        _plain(),
    )
}
# The systems that have a call for each step of an order's life. The plain one writes no events, from which the other
# figures are read, so it has none of those.
LIVES = ("ours", "express_cached", "plain")
BARE = _queue("bare", "bare aiohttp", _HERE, (), 0)


class Launcher:
    """Starts processes that share the databases and the stand-in. Each logs to its own file."""

    def __init__(self, databases: Databases, folder: Path, tree: Path = ROOT) -> None:
        """Systems run the code in `tree`."""
        self._databases, self._folder, self.tree = databases, folder, tree
        self.standin_port = free_port()
        self.standin = self.process("stand-in", (sys.executable, "-m", "bench.standin", str(self.standin_port)), {})

    async def start_standin(self) -> None:
        self.standin.start()
        await self.standin.wait_ready(lambda: _listens(self.standin_port), _START_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self, system: System, workers: int) -> AsyncIterator[Running]:
        """Run the system's receiver and workers. All processes are stopped at the end."""
        port = free_port()
        running = Running(port, self._receiver(system, port))
        try:
            await self._start_receiver(running.receiver, port)
            for _ in range(workers if system.worker else 0):
                self.add_worker(system, running)
            yield running
        finally:
            for process in (*running.workers, *running.more_receivers.values(), running.receiver):
                await process.stop()

    async def add_receiver(self, system: System, running: Running) -> None:
        port = free_port()
        running.more_receivers[port] = self._receiver(system, port)
        await self._start_receiver(running.more_receivers[port], port)

    def _receiver(self, system: System, port: int) -> Process:
        words = tuple(word.format(port=port) for word in system.receiver)
        return self.process(f"{system.name} receiver", words, {"PORT": str(port), **system.variables})

    async def _start_receiver(self, receiver: Process, port: int) -> None:
        receiver.start()
        await receiver.wait_ready(lambda: _listens(port), _START_SECONDS)

    def add_worker(self, system: System, running: Running) -> None:
        process = self.process(f"{system.name} worker", system.worker, system.variables)
        process.start()
        running.workers.append(process)

    def process(self, name: str, words: tuple[str, ...], more: Mapping[str, str], tree: Path | None = None) -> Process:
        """Make a process that runs the code in `tree`, by default in the launcher's. `more`: variables of its own."""
        log = self._folder / f"{name.replace(' ', '_')}.log"
        # Not in the repository, so that its .env is not read.
        return Process(Program(name, words, log, {**self.environment(tree or self.tree), **more}, self._folder))

    def environment(self, tree: Path) -> dict[str, str]:
        port = getattr(self, "standin_port", 0)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join((str(tree), str(ROOT))),
            "NODE_ENV": "production",
            "HOST": "127.0.0.1",
            "DATABASE_URL": self._databases.pooled_url,
            "DIRECT_DATABASE_URL": self._databases.database_url,
            "REDIS_URL": self._databases.redis_url,
            "PORTONE_API_URL": f"http://127.0.0.1:{port}",
            "PORTONE_IMP_KEY": "bench-key",
            "PORTONE_IMP_SECRET": "bench-secret",
            "SERVICE_KEYS": SERVICE_KEY,
            **_UNBOUND,
        }


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
