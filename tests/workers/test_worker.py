"""The worker outlives Redis, finishes its work, and loses no notice (docs/design.md §2.2, §2.10, §5)."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from arq.constants import job_key_prefix
from pydantic import SecretStr
from redis.asyncio import Redis as RedisClient

from cli.embedded.redis import Redis
from service.db.pool import Pool
from service.redis.queue import QUEUE_NAME
from service.settings import Settings
from tests.running import RunningService, running_receiver, running_worker, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from workers.main import run_worker

BIN = Path(sys.executable).parent
_PATIENCE_SECONDS = 40
RUN_WORKER = """
import asyncio
from service.settings import Settings
from workers.main import run_worker
asyncio.run(run_worker(Settings.load()))
"""


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with RedisClient.from_url(redis_url) as client:
        yield client


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a worker process."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "PORTONE_API_URL": settings.portone_api_url,
        "PORTONE_IMP_KEY": settings.portone_imp_key,
        "PORTONE_IMP_SECRET": settings.portone_imp_secret.get_secret_value(),
    }


@contextlib.asynccontextmanager
async def _started(settings: Settings, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker in its own process, which ends with the test."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=_environment(settings),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _ended(process: asyncio.subprocess.Process) -> bytes:
    """Wait for the end of the process. Returns its output."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return (await process.communicate())[0]


async def _pay(service: RunningService, sandbox: RunningSandbox, merchant_uid: str) -> None:
    await service.register(merchant_uid)
    await sandbox.pay(merchant_uid, 64900)
    await service.becomes(merchant_uid, state="paid", version=2)


async def test_it_outlives_its_connections(
    service: RunningService, sandbox: RunningSandbox, redis: RedisClient
) -> None:
    """After Redis has cut every connection, three times, the worker still settles the next payment."""
    await _pay(service, sandbox, "order-0")
    for number in range(1, 4):
        for kind in ("normal", "pubsub"):
            await redis.client_kill_filter(_type=kind, skipme=True)
        await _pay(service, sandbox, f"order-{number}")


async def test_it_outlives_a_redis_that_restarts(
    settings: Settings, sandbox: RunningSandbox, tmp_path: Path, pool: Pool
) -> None:
    """A notice that arrives while Redis is away is recorded, and the same worker settles it once Redis is back."""
    redis = Redis(tmp_path / "redis", tmp_path / "redis.log", embedded=True)
    process = redis.prepare()
    await redis.start(process)
    try:
        settings = settings.model_copy(update={"redis_url": SecretStr(redis.url())})
        async with running_receiver(settings) as receiver, running_worker(settings):
            sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
            await _pay(receiver, sandbox, "order-0")
            await process.stop()
            await receiver.register("order-1")
            imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
            assert len(await stored.notices(pool, imp_uid)) == 1
            await redis.start(process)
            await receiver.becomes("order-1", state="paid")
            await _pay(receiver, sandbox, "order-2")
    finally:
        await process.stop()


async def test_nothing_is_lost_with_the_queue(
    receiver: RunningService, settings: Settings, sandbox: RunningSandbox, redis: RedisClient
) -> None:
    """After a FLUSHALL between the 200 and the work, a sweep queues the notice again from its row."""
    await receiver.register("order-1")
    await sandbox.pay("order-1", 64900)
    await redis.flushall()
    async with running_worker(settings):
        await receiver.becomes("order-1", state="paid")


async def test_jobs_that_cannot_be_run(service: RunningService, sandbox: RunningSandbox, redis: RedisClient) -> None:
    """Jobs without a body, with an unreadable body or of an unknown function are dropped, and block nothing."""
    bodies = {"none": None, "unreadable": b"\x80\x05garbage", "unknown": b'{"t":1,"f":"nothing","a":[],"k":{},"et":0}'}
    for job_id, body in bodies.items():
        if body is not None:
            await redis.set(job_key_prefix + job_id, body)
        await redis.zadd(QUEUE_NAME, {job_id: 1})
    await _pay(service, sandbox, "order-1")

    async def dropped() -> bool:
        return [await redis.zscore(QUEUE_NAME, job_id) for job_id in bodies] == [None] * 3

    await until(dropped)


async def test_a_stop_finishes_what_is_under_way(
    receiver: RunningService, settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """After SIGTERM during a look, the worker waits for the answer, writes it, and exits with code 0."""
    async with _started(settings, sys.executable, "-c", RUN_WORKER) as worker:
        await _pay(receiver, sandbox, "order-0")  # it has its token
        await receiver.register("order-1")
        await sandbox.faults(latency_seconds=3)
        imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]

        async def being_asked() -> bool:
            return imp_uid in (await sandbox.calls())["by_imp_uid"]

        await until(being_asked)
        assert await stored.events(pool, "order-1") == [(1, "pending")]
        worker.send_signal(signal.SIGTERM)
        output = await _ended(worker)
        assert worker.returncode == 0, output
        assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_arqs_own_command_runs_the_same_tasks(
    receiver: RunningService, settings: Settings, sandbox: RunningSandbox, pool: Pool
) -> None:
    """`arq workers.main.WorkerSettings` settles like our worker, and logs no amounts or secrets."""
    async with _started(settings, str(BIN / "arq"), "workers.main.WorkerSettings") as worker:
        await _pay(receiver, sandbox, "order-1")
        worker.send_signal(signal.SIGTERM)
        output = await _ended(worker)
    assert b"verify_notices" in output
    assert b"64900" not in output
    assert settings.portone_imp_secret.get_secret_value().encode() not in output
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_arqs_own_command_without_settings(settings: Settings) -> None:
    """Without a setting arq's command fails with a sentence, not with a traceback."""
    without = settings.model_copy(update={"redis_url": SecretStr("")})
    async with _started(without, str(BIN / "arq"), "workers.main.WorkerSettings") as worker:
        output = await _ended(worker)
        assert worker.returncode != 0
    assert b"REDIS_URL" in output
    assert b"Traceback" not in output


async def test_a_stop_is_never_lost(settings: Settings, receiver: RunningService, sandbox: RunningSandbox) -> None:
    """The worker ends at whatever moment of its work SIGTERM comes (asyncio.wait_for on Python 3.11)."""
    for turns in range(20, 520, 20):
        working = asyncio.create_task(run_worker(settings))
        await sandbox.pay(f"order-{turns}", 64900)
        for _ in range(turns):
            await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "the signal would end the tests"
        os.kill(os.getpid(), signal.SIGTERM)
        done, _ = await asyncio.wait([working], timeout=_PATIENCE_SECONDS)
        assert done, f"it still works after {turns} turns"
        await working


async def test_a_cancelled_worker_ends_its_batch_first(
    settings: Settings, receiver: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A batch that is under way when the worker is cancelled is written, and no connection is left open."""
    await receiver.register("order-1")
    await sandbox.faults(latency_seconds=0.5)
    async with running_worker(settings):
        await sandbox.pay("order-1", 64900)

        async def is_claimed() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM notices WHERE claimed_until IS NOT NULL"))

        await until(is_claimed)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    gc.collect()  # a connection that is left open warns here, and a warning is an error
