"""Disks fill up under both databases: what was answered 200 is kept, and the service goes on once there is room."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis as RedisClient

from faults.full_disk import FullDisk, write_until_full
from faults.topology import LonePostgres, LoneRedis
from service.db.migrate import migrate
from service.settings import Settings
from tests.running import RunningService, bearer, patient_worker, running_receiver, until
from tests.sandbox_client import RunningSandbox


class Databases:
    """A Postgres and a Redis of the test's own, whose disks it fills."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.postgres, self.redis = folder, LonePostgres(folder, scratch=True), LoneRedis(folder)


@pytest.fixture
async def databases(tmp_path: Path) -> AsyncIterator[Databases]:
    databases = Databases(tmp_path)
    try:
        await asyncio.gather(databases.postgres.start(), databases.redis.start())
        await migrate(databases.postgres.url())
        yield databases
    finally:
        await asyncio.gather(databases.postgres.stop(), databases.redis.stop())


async def test_both_disks_fill_up(databases: Databases, settings: Settings, sandbox: RunningSandbox) -> None:
    """Without Postgres' disk a notice is spilled, without both it is refused; with room again all is settled."""
    urls = {"database_url": databases.postgres.url(), "redis_url": databases.redis.url()}
    settings = settings.model_copy(update={name: SecretStr(url) for name, url in urls.items()})
    async with running_receiver(settings) as receiver:
        await receiver.register("order-1")
        imp_uid = (await sandbox.pay("order-1", 64900, webhook=False))["imp_uid"]

        disk = await _fill_postgres(databases, receiver)
        assert await _announce(receiver, imp_uid) == 200
        await _fill_redis(databases, receiver)
        assert (await receiver.call("GET", "/readyz"))[0] == 503

        await databases.redis.start_again("redis")
        disk.free()
        await until(lambda: _is_back(databases, receiver))
        async with patient_worker(settings):
            await receiver.becomes("order-1", state="paid")


async def _is_back(databases: Databases, receiver: RunningService) -> bool:
    """Return whether both keep notices again. Postgres recovers by itself, unless it gave up before there was room."""
    if not databases.postgres.processes["postgres"].running:
        await databases.postgres.start_again("postgres")
    return await receiver.call("GET", "/readyz") == (200, {"postgres": "ok", "redis": "durable"})


async def _fill_postgres(databases: Databases, receiver: RunningService) -> FullDisk:
    """Fill Postgres' disk, so that it cannot recover either."""
    disk = await databases.postgres.fill_disk("postgres")
    await write_until_full(databases.postgres.url())
    log = databases.folder / "postgres.log"

    async def fails_to_recover() -> bool:
        return _reads(log).count("PANIC:  could not write to log file") > 1

    await until(fails_to_recover)
    order = {"merchant_uid": "order-2", "amount": 100}
    async with receiver.session.post(f"{receiver.url}/orders", json=order, headers=bearer()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    return disk


def _reads(log: Path) -> str:
    return log.read_text()


async def _fill_redis(databases: Databases, receiver: RunningService) -> None:
    """Fill Redis' disk, at which the first notice that it should keep ends it."""
    async with RedisClient.from_url(databases.redis.url()) as redis:
        await redis.set("filler", "-" * 100_000, px=1)  # its messages are on the same disk, and would fail before
    await databases.redis.fill_disk("redis")
    assert await _announce(receiver, "imp_2") == 503
    assert await databases.redis.processes["redis"].ended() == 1
    assert "Error writing to the AOF file: File too large" in _reads(databases.folder / "redis.log")


async def _announce(receiver: RunningService, imp_uid: str) -> int:
    webhook = {"imp_uid": imp_uid, "merchant_uid": "order-1", "status": "paid"}
    return (await receiver.call("POST", "/webhooks/portone/v1", json=webhook))[0]
