"""A restart of everything but Postgres loses nothing: a deposit pays its order, and a repeated call is answered."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from cli.embedded.redis import Redis
from cli.http_probe import answers_ok
from cli.processes import Process, Program
from service.db import orders
from service.db.pool import Connection, Pool
from service.settings import Settings
from tests.ports import own_port
from tests.running import SERVICE_KEY, RunningService, bearer, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

ROOT = Path(__file__).parents[2]
_READY_SECONDS = 60


class Machine:
    """A receiver, a worker and a Redis as processes. Postgres and PortOne are elsewhere."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings, self._port = folder, settings, own_port()
        self._redis = Redis(folder / "redis", folder / "redis.log", embedded=True)
        self._processes = {"redis": self._redis.prepare()}
        self._processes |= {name: self._process(name) for name in ("serve", "worker")}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start everything, the first time or again. Returns once the receiver can accept notices."""
        await self._redis.start(self._processes["redis"])
        self._processes["worker"].start()
        self._processes["serve"].start()
        await self._processes["serve"].wait_ready(
            lambda: answers_ok("127.0.0.1", self._port, "/readyz"), _READY_SECONDS
        )

    async def kill(self) -> set[int]:
        """Kill every process without warning. Returns the pids."""
        pids = {process.pid for process in self._processes.values() if process.pid and process.running}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*(process.ended() for process in self._processes.values()))
        return pids

    def _process(self, command: str) -> Process:
        argv = (sys.executable, "-m", "cli.main", command)
        return Process(Program(command, argv, self._folder / f"{command}.log", self._environment(), self._folder))

    def _environment(self) -> Mapping[str, str]:
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "PORT": str(self._port),
            "DATABASE_URL": self._settings.database_url.get_secret_value(),
            "REDIS_URL": self._redis.url(),
            "PORTONE_API_URL": self._settings.portone_api_url,
            "PORTONE_IMP_KEY": self._settings.portone_imp_key,
            "PORTONE_IMP_SECRET": self._settings.portone_imp_secret.get_secret_value(),
            "SERVICE_KEYS": SERVICE_KEY,
            "TIME_SCALE": "0.01",
        }


@asynccontextmanager
async def _running(machine: Machine) -> AsyncIterator[RunningService]:
    try:
        await machine.start()
        async with ClientSession() as session:
            yield RunningService(machine.url, session)
    finally:
        await machine.kill()


@pytest.mark.parametrize("while_away", [False, True], ids=["after the restart", "while all is away"])
async def test_a_deposit_with_no_webhook_and_everything_restarted(
    settings: Settings, sandbox: RunningSandbox, pool: Pool, tmp_path: Path, while_away: bool
) -> None:
    """After worker, Redis and receiver were killed and restarted, the deposit to an issued account pays the order."""
    await sandbox.faults(webhook_drop=True)
    machine = Machine(tmp_path, settings)
    async with _running(machine) as service:
        await service.register("order-1")
        imp_uid = (await sandbox.open("order-1", 64900, pay_method="vbank"))["imp_uid"]
        await sandbox.move(imp_uid, "issue")
        await service.becomes("order-1", state="awaiting_deposit", imp_uid=imp_uid)
        pids = await machine.kill()
        assert len(pids) == 3
        if while_away:
            await sandbox.move(imp_uid, "deposit")
    async with _running(machine) as service:
        if not while_away:
            await sandbox.move(imp_uid, "deposit")
        await service.becomes("order-1", state="paid", paid_amount=64900, problems=[])
        assert len(pids | await machine.kill()) == 6
    states = [state for _, state in await stored.events(pool, "order-1")]
    assert states == ["pending", "awaiting_deposit", "paid"]
    assert (await sandbox.webhooks())["outcomes"] == {"dropped": 2}
    assert {row["source"] for row in await stored.notices(pool, imp_uid)} == {"reconcile"}


async def test_a_receiver_that_is_killed_before_its_answer_is_kept(
    settings: Settings, sandbox: RunningSandbox, pool: Pool, tmp_path: Path
) -> None:
    """A call with an Idempotency-Key whose receiver dies after the write runs again, and finds its work done."""
    amend = {"json": {"amount": 100}, "headers": {**bearer(), "If-Match": '"1"', "Idempotency-Key": '"a"'}}
    machine = Machine(tmp_path, settings)
    async with _running(machine) as service, pool.acquire() as order, pool.acquire() as key:
        await service.register("order-1")
        async with key.transaction():
            async with order.transaction():
                await orders.lock(order, ["order-1"])
                amending = asyncio.create_task(service.call("PATCH", "/orders/order-1", **amend))
                # The row itself: only the call's answer waits for whoever holds it.
                await until(lambda: _locks_the_key(key))
            await until(lambda: _is_written(pool, "order-1", version=2))
            await machine.kill()
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        with pytest.raises(ClientError):
            await amending
    assert await pool.fetchval("SELECT status FROM idempotency_keys") is None
    async with _running(machine) as service:
        status: int = 409
        body: Any = None
        while status == 409:  # until the claim ends
            status, body = await service.call("PATCH", "/orders/order-1", **amend)
        assert (status, body["version"], body["amount"]) == (200, 2, 100)
        assert await service.call("PATCH", "/orders/order-1", **amend) == (200, body)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "pending")]


async def _locks_the_key(db: Connection) -> bool:
    return bool(await db.fetch("SELECT FROM idempotency_keys FOR UPDATE"))


async def _is_written(pool: Pool, merchant_uid: str, *, version: int) -> bool:
    return bool((await stored.order(pool, merchant_uid))["version"] == version)
