"""The service as real processes for an attack: a receiver, a worker, PortOne, a slow PortOne, and both databases.

The limits are the defaults. Strangers and PortOne are told apart by X-Forwarded-For, as behind a proxy of the shop's.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import psutil
from aiohttp import web

from bench.databases import Databases, running_databases
from cli.http_probe import answers_ok
from cli.ports import free_port
from cli.processes import Process, Program

ROOT = Path(__file__).parents[2]
KEY = "hostile-service-key"
TIER = "ABC"
SLOW_ACCOUNT = "slow"
# One of the addresses that PortOne publishes.
FROM_PORTONE = "X-Forwarded-For: 52.78.100.19\r\n"
PROMISE_AGE_SECONDS = 10
_SLOW_SECONDS = 4
_READY_SECONDS = 30.0
_SPILL_MEGABYTES = 4
# No ledger scan and no silent order finds what a webhook announces.
_NO_SCAN = """
    INSERT INTO ledger_scans (account, tier, next_at, last_completed_at, began_at)
    SELECT account, tier, now() + interval '1 day', now(), now()
    FROM (VALUES ('default', ''), ('default', $1), ($2, '')) AS s (account, tier)
"""


class Town:
    """The parts of one run."""

    def __init__(self, databases: Databases, folder: Path) -> None:
        self.databases, self.folder = databases, folder
        self.port, self.hook_port = free_port(), free_port()
        self.portone_ports = {"portone": free_port(), SLOW_ACCOUNT: free_port()}
        self.processes: dict[str, Process] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything on a fresh database."""
        async with contextlib.AsyncExitStack() as stack:
            self.session = await stack.enter_async_context(aiohttp.ClientSession())
            self.db = await asyncpg.connect(self.databases.database_url, timeout=10)
            stack.push_async_callback(self._close_db)
            await self.db.execute(_NO_SCAN, TIER, SLOW_ACCOUNT)
            await stack.enter_async_context(self._stock_hook())
            stack.push_async_callback(self._stop)
            for name, port in self.portone_ports.items():
                keys = ["--imp-key", f"{name}_key", "--imp-secret", f"{name}_secret"]
                await self._start(name, ["-m", "sandbox", "--port", str(port), *keys], {}, port, "/healthz")
            await self.portone("POST", "faults", part=SLOW_ACCOUNT, latency_seconds=_SLOW_SECONDS)
            environment = self._environment()
            await self._start("receiver", ["-m", "cli.main", "serve"], environment, self.port, "/readyz")
            await self._start("worker", ["-m", "cli.main", "worker"], environment)
            await self.processes["worker"].wait_ready(self._has_swept, _READY_SECONDS)
            yield

    async def portone(self, method: str, path: str, *, part: str = "portone", **body: Any) -> Any:
        """Call the control API of PortOne's stand-in. Raises aiohttp's errors."""
        url = f"http://127.0.0.1:{self.portone_ports[part]}/_control/{path}"
        async with self.session.request(method, url, json=body) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def promise(self) -> list[str]:
        """Return the promises that the receiver says are broken."""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with self.session.get(f"http://127.0.0.1:{self.port}/healthz/promise", headers=headers) as answer:
            content = await answer.json()
            return list(content.get("broken", [f"HTTP {answer.status}"]))

    async def lose_postgres(self, seconds: float) -> None:
        """Stop Postgres for this long."""
        await self._close_db()
        await self.databases.postgres.stop()
        await asyncio.sleep(seconds)
        await self.databases.start_postgres()
        self.db = await asyncpg.connect(self.databases.database_url, timeout=10)

    async def freeze_worker(self, seconds: float) -> None:
        """Let the worker do nothing for this long."""
        os.kill(self.processes["worker"].pid or 0, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(self.processes["worker"].pid or 0, signal.SIGCONT)

    def usage(self) -> dict[str, int]:
        """Return memory in bytes and open descriptors of our processes."""
        usage: dict[str, int] = {}
        for name in ("receiver", "worker"):
            process = psutil.Process(self.processes[name].pid)
            usage |= {f"{name} bytes": process.memory_info().rss, f"{name} descriptors": process.num_fds()}
        return usage

    async def _has_swept(self) -> bool:
        return bool(await self.db.fetchval("SELECT EXISTS (SELECT FROM processes WHERE worked_at IS NOT NULL)"))

    async def _close_db(self) -> None:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await self.db.close(timeout=2)

    async def _stop(self) -> None:
        for process in reversed(self.processes.values()):
            await process.stop()

    async def _start(
        self, name: str, words: list[str], environment: Mapping[str, str], port: int = 0, path: str = ""
    ) -> None:
        env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), **environment}
        log = self.folder / f"{name}.log"
        process = self.processes[name] = Process(Program(name, (sys.executable, *words), log, env, self.folder))
        process.start()
        if port:
            await process.wait_ready(lambda: answers_ok("127.0.0.1", port, path), _READY_SECONDS)

    def _environment(self) -> dict[str, str]:
        portone, slow = (f"http://127.0.0.1:{port}" for port in self.portone_ports.values())
        slow_account = {"imp_key": "slow_key", "imp_secret": "slow_secret", "api_url": slow}
        return {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATABASE_URL": self.databases.database_url,
            "REDIS_URL": self.databases.redis_url,
            "PORTONE_API_URL": portone,
            "PORTONE_IMP_KEY": "portone_key",
            "PORTONE_IMP_SECRET": "portone_secret",
            "PORTONE_TIERS": TIER,
            "PORTONE_ACCOUNTS": orjson.dumps({SLOW_ACCOUNT: slow_account}).decode(),
            "SERVICE_KEYS": KEY,
            "RETURN_URL": "https://shop.example.test/done",
            "TRUSTED_PROXIES": "127.0.0.1",
            "STOCK_HOOK_URL": f"http://127.0.0.1:{self.hook_port}/stock",
            "SPILL_MEGABYTES": str(_SPILL_MEGABYTES),
            "PROMISE_AGE_SECONDS": str(PROMISE_AGE_SECONDS),
            "PROMISE_PARKED": "1000000000",
            "PROMISE_LAG_SECONDS": "1000000",
        }

    @contextlib.asynccontextmanager
    async def _stock_hook(self) -> AsyncIterator[None]:
        """Run the shop's stock hook, which has everything in stock."""

        async def in_stock(_: web.BaseRequest) -> web.Response:
            return web.Response()

        runner = web.ServerRunner(web.Server(in_stock))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.hook_port).start()
        try:
            yield
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def running_town(folder: Path, laden: str = "") -> AsyncIterator[Town]:
    """Start a town in which the statements `laden` have been carried out before any process starts."""
    async with running_databases() as databases:
        await databases.fresh(1)
        if laden:
            async with databases.session() as db:
                await db.execute(laden, timeout=600)
        town = Town(databases, folder)
        async with town.running():
            yield town
