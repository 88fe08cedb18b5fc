"""An accepted notice is durable, whatever happens to others, its sender or a database (docs/design.md §2.1)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from redis.asyncio import Redis as RedisClient

from service.db.pool import Pool, open_pool
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.errors import NoRoom, NothingRecorded, UnusableNotice
from service.metrics import Metrics
from service.notice_ids import new_notice_id
from service.redis.queue import QUEUE_NAME, Queue, connect
from service.redis.spill import SPILL_STREAM
from service.usecases import intake as intake_module
from service.usecases.intake import Intake, Receipt
from service.usecases.recording import Recorder
from tests.conftest import Stores
from tests.service import stored

NOWHERE = "redis://127.0.0.1:1/0"


def _notice(imp_uid: str = "imp_1", merchant_uid: str | None = None) -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, claimed_status="paid")


def _intake(pool: Pool, queue: Queue) -> Intake:
    return Intake(Recorder(pool, queue, Timetable()), Metrics())


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with RedisClient.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    opened = Queue(connect(redis_url))
    yield opened
    await opened.close()


@pytest.fixture
async def intake(pool: Pool, queue: Queue) -> AsyncIterator[Intake]:
    opened = _intake(pool, queue)
    yield opened
    await opened.close()


async def _without_postgres(stores: Stores, pool: Pool) -> None:
    """Refuse new connections to the test's database, and end all others."""
    name = await pool.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(stores.postgres.url("postgres"))
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    finally:
        await admin.close()


async def test_batches_form_while_a_write_is_under_way(intake: Intake, pool: Pool, redis: RedisClient) -> None:
    """A single notice is written at once, and those that arrive meanwhile are written together, with one job."""
    receipts = await asyncio.gather(*(intake.accept(_notice(f"imp_{number}")) for number in range(250)))
    assert {receipt.row_id for receipt in receipts} == {row["id"] for row in await pool.fetch("SELECT id FROM notices")}
    assert await stored.count(pool, "notices") == 250
    assert await redis.zcard(QUEUE_NAME) <= 5


async def test_a_notice_that_postgres_refuses_is_refused_alone(intake: Intake, pool: Pool) -> None:
    """Only the notice that Postgres refuses is refused, and the others of its batch are recorded once."""
    batch = [_notice("imp_first"), *(_notice(f"imp_{number}") for number in range(5))]
    batch += [_notice("imp_nul", "\0"), _notice("i" * 65), _notice("imp_surrogate", "\ud800"), _notice("imp_last")]
    results = await asyncio.gather(*(intake.accept(notice) for notice in batch), return_exceptions=True)
    assert [type(result).__name__ for result in results[-4:]] == ["UnusableNotice"] * 3 + ["Receipt"]
    recorded = {row["imp_uid"] for row in await pool.fetch("SELECT imp_uid FROM notices")}
    assert recorded == {"imp_first", "imp_last", *(f"imp_{number}" for number in range(5))}


async def test_one_that_is_refused_is_refused_to_its_sender(intake: Intake) -> None:
    """A notice that Postgres refuses is also refused if it is alone in its batch."""
    with pytest.raises(UnusableNotice):
        await intake.accept(_notice("i" * 65))


async def test_recorded_without_redis(pool: Pool) -> None:
    """Without Redis a notice is recorded and due soon, so that a sweep queues it."""
    queue = Queue(connect(NOWHERE))
    receipt = await _intake(pool, queue).accept(_notice())
    [row] = await stored.notices(pool, "imp_1")
    assert (row["id"], row["handled_at"]) == (receipt.row_id, None)
    assert await pool.fetchval("SELECT due_at <= now() + interval '3 seconds' FROM notices")
    await queue.close()


async def test_how_long_accepting_takes_is_counted(pool: Pool, queue: Queue) -> None:
    """Each accepted notice is in the histogram that an autoscaler follows."""
    metrics = Metrics()
    intake = Intake(Recorder(pool, queue, Timetable()), metrics)
    await asyncio.gather(*(intake.accept(_notice(f"imp_{number}")) for number in range(3)))
    assert metrics.acceptances.buckets()[-1] == ("+Inf", 3.0)
    await intake.close()


async def test_spilled_without_postgres(intake: Intake, pool: Pool, stores: Stores, redis: RedisClient) -> None:
    """Without Postgres a notice waits in a stream that never expires, and no job is queued."""
    await _without_postgres(stores, pool)
    assert (await intake.accept(_notice())).row_id is None
    assert (await redis.xlen(SPILL_STREAM), await redis.ttl(SPILL_STREAM)) == (1, -1)
    assert await redis.zcard(QUEUE_NAME) == 0


async def test_a_flood_while_postgres_is_away_is_refused_and_portone_is_not(
    pool: Pool, stores: Stores, redis_url: str, redis: RedisClient
) -> None:
    """Past its share of Redis a stranger is answered that nothing was recorded; PortOne and the queue have room."""
    queue = Queue(connect(redis_url), 80_000)
    intake = _intake(pool, queue)
    await _without_postgres(stores, pool)
    flood = (intake.accept(_notice(f"imp_{number}"), "10.0.0.1") for number in range(300))
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Receipt, NoRoom}
    assert await redis.xlen(SPILL_STREAM) < 20
    assert await intake.accept(_notice("imp_genuine"), "") == Receipt(None)
    assert await intake.accept(_notice("imp_genuine"), "10.0.0.1") == Receipt(None)
    await queue.put([new_notice_id()])
    await queue.close()


async def test_refused_without_either(pool: Pool, stores: Stores) -> None:
    """Without both databases a notice is refused."""
    await _without_postgres(stores, pool)
    queue = Queue(connect(NOWHERE))
    with pytest.raises(NothingRecorded):
        await _intake(pool, queue).accept(_notice())
    await queue.close()


@pytest.mark.parametrize(
    ("setting", "bad", "good"),
    [
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ],
)
async def test_not_spilled_into_a_redis_that_may_forget(
    intake: Intake, pool: Pool, stores: Stores, redis: RedisClient, setting: str, bad: str, good: str
) -> None:
    """A Redis that may lose data accepts no notice, which is refused so that it is sent again."""
    await _without_postgres(stores, pool)
    await redis.config_set(setting, bad)
    try:
        with pytest.raises(NothingRecorded):
            await intake.accept(_notice())
        assert await redis.xlen(SPILL_STREAM) == 0
    finally:
        await redis.config_set(setting, good)


async def test_a_postgres_that_cannot_write_is_away(intake: Intake, pool: Pool, redis: RedisClient) -> None:
    """If Postgres itself has a fault, such as a missing table, a notice is spilled and not refused."""
    await pool.execute("ALTER TABLE notices RENAME TO notices_moved")
    assert (await intake.accept(_notice())).row_id is None
    assert await redis.xlen(SPILL_STREAM) == 1


async def test_a_sender_that_goes_away(intake: Intake, pool: Pool) -> None:
    """The notice of a caller who hangs up is recorded, and the others of its batch are answered."""
    leaving, staying = [asyncio.create_task(intake.accept(_notice(f"imp_{number}"))) for number in range(2)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).row_id is not None
    await intake.close()
    assert await stored.count(pool, "notices") == 2


async def test_the_number_that_waits_is_bounded(pool: Pool, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past capacity completion calls are refused, while webhooks wait for a place and are all recorded."""
    monkeypatch.setattr(intake_module, "_WAITING_MAX", 10)
    intake = _intake(pool, queue)
    webhooks = [_notice(f"imp_{number}") for number in range(50)]
    completions = [replace(_notice(f"imp_call_{number}"), source=Source.COMPLETION) for number in range(50)]
    calls = (intake.accept(notice) for notice in webhooks + completions)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result).__name__ for result in results[:50]} == {"Receipt"}
    refused = [result for result in results[50:] if isinstance(result, NothingRecorded)]
    assert refused
    assert await stored.count(pool, "notices") == 100 - len(refused)


async def test_the_same_notice_twice(intake: Intake, pool: Pool) -> None:
    """A notice is recorded once, however often its write is repeated."""
    await stored.register_order(pool, "order-1")
    notice = _notice("imp_1", "order-1")
    first, second = await intake.accept(notice), await intake.accept(notice)
    assert first == second
    assert await stored.count(pool, "notices") == 1


async def test_a_silent_postgres_holds_up_one_batch(intake: Intake, pool: Pool) -> None:
    """Only the first batch waits for a Postgres that does not answer, and the next are spilled at once."""
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("LOCK TABLE notices IN ACCESS EXCLUSIVE MODE")
        assert await intake.accept(_notice()) == Receipt(None)
        async with asyncio.timeout(2):
            assert await intake.accept(_notice()) == Receipt(None)


async def test_ids_are_uuids_of_version_seven() -> None:
    """Later ids sort after earlier ones, by the millisecond."""
    ids = [new_notice_id() for _ in range(100)]
    assert {(notice_id.version, notice_id.variant) for notice_id in ids} == {(7, "specified in RFC 4122")}
    stamps = [notice_id.int >> 80 for notice_id in ids]
    assert stamps == sorted(stamps)
    assert len(set(ids)) == 100


async def test_no_server_is_needed_to_start() -> None:
    """A pool opens without a Postgres, because the receiver may start before its databases."""
    pool = await open_pool("postgresql://127.0.0.1:1/none")
    queue = Queue(connect(NOWHERE))
    with pytest.raises(NothingRecorded):
        await _intake(pool, queue).accept(_notice())
    await queue.close()
    await pool.close()
