"""A worker whose machine's clock is an hour wrong is named, and goes on working."""

import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from cli.checks.service import check_workers
from cli.processes import Process, Program
from faults.wrong_clock import WrongClock
from service.db.pool import Pool
from service.settings import Settings
from tests.running import running_receiver, until
from tests.sandbox_client import RunningSandbox

_HOUR = 3600


@pytest.fixture
async def machine(settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[WrongClock, Process]]:
    """A machine on which a worker runs."""
    clock, root = WrongClock(tmp_path / "clock"), Path(__file__).parents[2]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(root),
        "DATABASE_URL": settings.direct_url,
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "PORTONE_API_URL": settings.portone_api_url,
        "PORTONE_IMP_KEY": settings.portone_imp_key,
        "PORTONE_IMP_SECRET": settings.portone_imp_secret.get_secret_value(),
    }
    words = (sys.executable, *clock.words("cli.main", "worker"))
    process = Process(Program("worker", words, tmp_path / "log", environment, tmp_path))
    process.start()
    yield clock, process
    await process.stop()


async def test_a_clock_jumps_an_hour(
    machine: tuple[WrongClock, Process], settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """The worker's clock is reported as wrong; it sweeps and settles then, and after the clock was set right."""
    clock, worker = machine
    async with running_receiver(settings) as receiver:
        sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
        await until(partial(_sweeps, pool, 0))
        for number, (ahead, fault) in enumerate(((_HOUR, "ahead of"), (-_HOUR, "behind"), (0, ""))):
            clock.set(ahead, worker.pid)
            await until(partial(_sweeps, pool, ahead))
            assert not fault or f" s {fault} Postgres': set its machine's clock" in str(await check_workers(settings))
            order = f"order-{number}"
            await receiver.register(order)
            await sandbox.pay(order, 64900)
            await receiver.becomes(order, state="paid")


async def _sweeps(pool: Pool, ahead_seconds: int) -> bool:
    """Return whether the worker reports a clock that is this wrong, and has swept since it was asked for first."""
    query = """
        SELECT count(*) FROM processes WHERE kind = 'worker' AND abs(clock_ahead_seconds - $1) < 60
           AND worked_at BETWEEN now() - interval '3 s' AND now() + interval '3 s'
    """
    return bool(await pool.fetchval(query, ahead_seconds))
