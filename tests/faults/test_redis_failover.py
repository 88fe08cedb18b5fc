"""Redis fails over while the service works: nothing that was accepted is lost, and nothing is restarted."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from signal import Signals

import pytest
from pydantic import SecretStr

from cli.checks.databases import check_redis
from faults.redis_group import MASTER, SENTINELS, RedisGroup
from service.db.pool import Pool
from service.domain.notice import Notice, Source
from service.errors import RedisUnavailable
from service.notice_ids import new_notice_id
from service.redis.queue import Queue, connect
from service.redis.spill import SPILL_STREAM
from service.settings import Settings
from tests.ports import own_port
from tests.running import PATIENT, RunningService, patient_worker, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored


def _notice(imp_uid: str) -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uid, "order-0")


@pytest.fixture
async def group(tmp_path: Path) -> AsyncIterator[RedisGroup]:
    group = RedisGroup(tmp_path)
    try:
        await group.start()
        yield group
    finally:
        await group.stop()


async def test_redis_fails_over(group: RedisGroup, settings: Settings, sandbox: RunningSandbox, pool: Pool) -> None:
    """The spill counts only what each server has on its disk, and a killed master costs a paying buyer seconds."""
    settings = settings.model_copy(update={"redis_url": SecretStr(group.url_through(group.ports))})
    queue = Queue(connect(settings.redis_url.get_secret_value()))
    try:
        await until(lambda: _is_well(settings))
        await _name_wrong_sentinels(group, settings)
        await _spill_to_every_server(group, queue)
        async with running_receiver(settings) as receiver, patient_worker(settings):
            sandbox.send_webhooks_to(f"{receiver.url}/webhooks/portone/v1")
            await _pay_while_the_master_is_killed(group, receiver, sandbox)
            await until(lambda: _is_recorded(pool, "imp_kept"))
        faults = await check_redis(settings)
        assert f"start 127.0.0.1:{group.port(group.replica)}, which the Sentinels may promote" in faults[0]
        assert f"replica at 127.0.0.1:{group.port(group.replica)} cannot be asked: nothing listens" in faults[1]
    finally:
        await queue.close()


async def _is_well(settings: Settings) -> bool:
    return await check_redis(settings) == []


async def _is_named(settings: Settings, fault: str) -> bool:
    """Return whether `doctor` says this of Redis. A Sentinel of a busy machine may be too slow the first time."""
    faults = await check_redis(settings)
    assert not any("not-" in one for one in faults)
    return any(fault in one for one in faults)


async def _name_wrong_sentinels(group: RedisGroup, settings: Settings) -> None:
    url, gone = (
        settings.redis_url.get_secret_value(),
        {**group.ports, SENTINELS[0]: own_port(), SENTINELS[1]: own_port()},
    )
    for wrong, fault in (
        (
            url.replace(f"/{MASTER}/", "/other/"),
            "its Sentinels know no master of this name: correct the name after the",
        ),
        (
            url.replace("sentinel_password=", "sentinel_password=not-"),
            "its Sentinels refuse the password: correct sent",
        ),
        (url.replace("://:", "://:not-"), "it refuses the password: correct the password in REDIS_URL."),
        (group.url_through(dict.fromkeys(group.ports, own_port())), "none of its Sentinels answers: start them, or"),
        (group.url_through(gone), f"The Sentinel at 127.0.0.1:{gone[SENTINELS[0]]} cannot be asked: nothing listens"),
    ):
        await until(partial(_is_named, settings.model_copy(update={"redis_url": SecretStr(wrong)}), fault))


async def _spill_to_every_server(group: RedisGroup, queue: Queue) -> None:
    assert await queue.is_durable()
    assert await queue.spill([_notice("imp_kept")], [""]) == [True]
    async with group.server(group.replica) as replica:
        assert await replica.xlen(SPILL_STREAM) == 1
    group.signal(group.replica, Signals.SIGSTOP)
    with pytest.raises(RedisUnavailable):
        await queue.spill([_notice("imp_unconfirmed")], [""])
    group.signal(group.replica, Signals.SIGCONT)


async def _pay_while_the_master_is_killed(group: RedisGroup, receiver: RunningService, sandbox: RunningSandbox) -> None:
    await receiver.register("order-1")
    imp_uid = (await sandbox.open("order-1", 64900))["imp_uid"]
    waiting = asyncio.create_task(receiver.complete(imp_uid, "order-1", headers=PATIENT))
    group.signal(group.master, Signals.SIGKILL)
    await sandbox.move(imp_uid, "pay")
    await group.promoted()
    assert await waiting == (200, {"merchant_uid": "order-1", "state": "paid"})


async def _is_recorded(pool: Pool, imp_uid: str) -> bool:
    return bool(await stored.notices(pool, imp_uid))
