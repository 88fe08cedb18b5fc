"""Run the whole service as processes, with a proxy between any two of them, in its own scratch folder."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from redis.asyncio import Redis as RedisClient

from cli.http_probe import answers_ok
from cli.ports import free_port
from cli.processes import Process, Program
from faults.full_disk import FullDisk
from faults.proxy import Proxy
from faults.rows import migrate_strictly
from faults.topology import LonePostgres, LoneRedis, Topology
from faults.wrong_clock import WrongClock

TIER = "ABC"
# A PortOne account beside the default one.
OTHER_ACCOUNT, _OTHER_KEY, _OTHER_SECRET = "second", "imp_second_key", "imp_second_secret"
KEY = "faults-service-key"
RECEIVERS = ("receiver-1", "receiver-2")
WORKERS = ("worker-1", "worker-2")
_READY_SECONDS = 30.0
_TABLES = "order_events, order_checks, notices, payments, unreadable_payments, orders, searches, ledger_scans"


class Stack:
    """The parts by name, and the proxies between them by the names of both sides."""

    def __init__(self, folder: Path, scale: float, postgres: Topology, redis: Topology) -> None:
        self.folder, self.scale = folder, scale
        self.processes: dict[str, Process] = {}
        self.proxies: dict[str, Proxy] = {}
        self.ports = {name: free_port() for name in RECEIVERS}
        self.postgres, self.redis = postgres, redis
        # Each part of the service has a machine of its own.
        self.clocks = {name: WrongClock(folder / f"{name}.clock") for name in (*RECEIVERS, *WORKERS)}
        self.session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Start everything. Returns when both receivers can accept notices."""
        await asyncio.gather(self.postgres.start(), self.redis.start())
        self.processes |= self.postgres.processes | self.redis.processes
        await migrate_strictly(self.postgres.url())
        self.sandbox_port = free_port()
        await self._start_proxies()
        self.processes["sandbox"] = self._sandbox()
        self.processes["sandbox"].start()
        await self.processes["sandbox"].wait_ready(partial(self._answers, self.sandbox_port, "/healthz"), 15)
        for name in (*RECEIVERS, *WORKERS):
            self.processes[name] = self._service_process(name)
            self.processes[name].start()
        await self.ready()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3))

    async def stop(self) -> None:
        if self.session:
            await self.session.close()
        for name in (*RECEIVERS, *WORKERS):
            if name in self.processes:
                self.signal(name, signal.SIGCONT)
        await asyncio.gather(*(p.stop() for n, p in self.processes.items() if self._database_of(n) is None))
        await asyncio.gather(self.postgres.stop(), self.redis.stop())
        await asyncio.gather(*(proxy.stop() for proxy in self.proxies.values()))

    async def ready(self) -> None:
        """Wait until both receivers can accept notices."""
        for name in RECEIVERS:
            await self.processes[name].wait_ready(partial(self._answers, self.ports[name], "/readyz"), _READY_SECONDS)

    async def start_again(self, name: str) -> None:
        """Start a part that has ended."""
        process = self.processes[name]
        if process.running:
            return
        if database := self._database_of(name):
            await database.start_again(name)
        else:
            process.start()

    def signal(self, name: str, number: signal.Signals) -> None:
        pid = self.processes[name].pid
        if pid and self.processes[name].running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def fill_disk(self, name: str) -> FullDisk:
        """Fill the disk of a database's server."""
        database = self._database_of(name)
        assert database  # noqa: S101
        return await database.fill_disk(name)

    def set_clock(self, name: str, ahead_seconds: int) -> None:
        """Set the clock of a part's machine."""
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            self.clocks[name].set(ahead_seconds, process.pid if process.running else None)

    def is_server(self, name: str) -> bool:
        """Say whether this part is a server of a database."""
        return self._database_of(name) is not None

    def _database_of(self, name: str) -> Topology | None:
        return next((database for database in (self.postgres, self.redis) if name in database.processes), None)

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.postgres.url(), timeout=5)

    def redis_client(self) -> Any:
        return RedisClient.from_url(self.redis.url(), socket_timeout=3)

    async def fresh(self) -> None:
        """Delete all data in Postgres, Redis and the sandbox, whose servers are made whole first."""
        await asyncio.gather(self.postgres.restore(), self.redis.restore())
        # First, or a ledger scan finds in it what was just deleted, and has it stored again.
        await self.control("POST", "reset")
        db = await self.connect()
        for tries_left in reversed(range(10)):
            try:
                await db.execute(f"TRUNCATE {_TABLES} CASCADE", timeout=20)
                break
            except asyncpg.DeadlockDetectedError:  # with a worker that is about to read several tables
                if not tries_left:
                    raise
        await db.close()
        async with self.redis_client() as redis:
            await redis.flushall()

    async def control(self, method: str, path: str, body: Any = None, seconds: float = 3.0) -> Any:
        """Call the sandbox's control API. Raises ControlRefused."""
        assert self.session  # noqa: S101 - it is started
        url = f"http://127.0.0.1:{self.sandbox_port}/_control/{path}"
        timeout = aiohttp.ClientTimeout(total=seconds)
        given = {} if body is None and method != "GET" else body
        async with self.session.request(method, url, json=given, timeout=timeout) as answer:
            content = await answer.json()
            if answer.status >= 400:
                raise ControlRefused(f"{method} {path} {body}: {content}")
            return content

    async def truth(self) -> list[dict[str, Any]]:
        """Return PortOne's payments, each with its history."""
        return list((await self.control("GET", "payments?history=1", seconds=10))["payments"])

    @property
    def entry_url(self) -> str:
        """The address for browsers and PortOne: a proxy before both receivers."""
        return f"http://127.0.0.1:{self.proxies['world>receivers'].port}"

    async def _start_proxies(self) -> None:
        for name in (*RECEIVERS, *WORKERS):
            for server, port in (*self.postgres.ports.items(), *self.redis.ports.items()):
                self.proxies[f"{name}>{server}"] = Proxy(f"{name}>{server}", [port])
        for name in WORKERS:
            self.proxies[f"{name}>portone"] = Proxy(f"{name}>portone", [self.sandbox_port])
        self.proxies["world>receivers"] = Proxy("world>receivers", list(self.ports.values()))
        for proxy in self.proxies.values():
            await proxy.start()

    def _sandbox(self) -> Process:
        words = ["-m", "sandbox", "--port", str(self.sandbox_port)]
        words += ["--webhook-url", f"{self.entry_url}/webhooks/portone/v1"]
        words += ["--account", f"{OTHER_ACCOUNT}:{_OTHER_KEY}:{_OTHER_SECRET}"]
        return self._program("sandbox", words, {})

    def _service_process(self, name: str) -> Process:
        env = self._shop_settings() | {
            "DATABASE_URL": self._url_for(name, self.postgres),
            "REDIS_URL": self._url_for(name, self.redis),
        }
        if name in RECEIVERS:
            env |= {"PORT": str(self.ports[name]), "HOST": "127.0.0.1"}
        else:
            env["PORTONE_API_URL"] = f"http://127.0.0.1:{self.proxies[f'{name}>portone'].port}"
        return self._program(name, self.clocks[name].words("cli.main", "serve" if name in RECEIVERS else "worker"), env)

    def operator_settings(self) -> dict[str, str]:
        """Return the settings of a command, which reaches Postgres past every proxy."""
        return self._shop_settings() | {"DATABASE_URL": self.postgres.url()}

    def _shop_settings(self) -> dict[str, str]:
        other = {"imp_key": _OTHER_KEY, "imp_secret": _OTHER_SECRET}
        return {
            "PORTONE_IMP_KEY": "imp_sandbox_key",
            "PORTONE_IMP_SECRET": "imp_sandbox_secret",
            "PORTONE_TIERS": TIER,
            "PORTONE_ACCOUNTS": json.dumps({OTHER_ACCOUNT: other}),
            "SERVICE_KEYS": KEY,
            "TIME_SCALE": str(self.scale),
            "COMPLETIONS_PER_CLIENT": "1000",
            "CALLS_PER_SECOND": "400",
            "RETURN_URL": "http://shop.invalid/done",
            "ON_DUPLICATE": "refund",
            "REFUND_MAX_PER_HOUR": "1000000",
            "PROMISE_PARKED": "1000000",  # invented notices are parked, which is no fault
        }

    def _url_for(self, name: str, database: Topology) -> str:
        """Return the database's URL through the proxies of this part."""
        return database.url_through({server: self.proxies[f"{name}>{server}"].port for server in database.ports})

    def _program(self, name: str, words: list[str], env: dict[str, str]) -> Process:
        root = Path(__file__).parent.parent
        inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        env = inherited | {"PYTHONPATH": str(root)} | env
        return Process(Program(name, (sys.executable, *words), self.folder / f"{name}.log", env, self.folder))

    @staticmethod
    async def _answers(port: int, path: str) -> bool:
        return await answers_ok("127.0.0.1", port, path)


class ControlRefused(Exception):
    """The sandbox refused a move."""


def _scratch_folder() -> Path:
    """Make a folder on the disk, because /tmp may be memory. Other users may enter, because Postgres must."""
    parent = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None  # noqa: S108 - a folder of our own is made in it
    folder = Path(tempfile.mkdtemp(prefix="portone-faults-", dir=parent))
    folder.chmod(0o711)
    return folder


@contextlib.asynccontextmanager
async def running_stack(
    scale: float, postgres: Callable[[Path], Topology] = LonePostgres, redis: Callable[[Path], Topology] = LoneRedis
) -> AsyncIterator[Stack]:
    """Start the stack on the disk, with fsync, and remove everything at the end."""
    folder = _scratch_folder()
    stack = Stack(folder, scale, postgres(folder), redis(folder))
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
