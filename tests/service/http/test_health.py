"""Health measures the promise, and readiness measures only whether a notice can be accepted."""

import asyncio
import re

import pytest
from redis.asyncio import Redis

from service.db.pool import Pool
from service.redis.spill import SPILL_STREAM
from tests.running import RunningService, bearer, until


async def test_readyz_asks_only_whether_a_notice_can_be_accepted(receiver: RunningService) -> None:
    """With both databases the receiver is ready, and needs no key to say so."""
    status, body = await receiver.call("GET", "/readyz")
    assert (status, body) == (200, {"postgres": "ok", "redis": "durable"})


async def _readyz_becomes(receiver: RunningService, expected: tuple[int, dict[str, str]]) -> None:
    async def has_become() -> bool:
        return await receiver.call("GET", "/readyz") == expected

    await until(has_become)


async def test_a_postgres_without_our_tables_cannot_accept(
    receiver: RunningService, pool: Pool, redis_url: str
) -> None:
    """Without the tables Postgres is named as not migrated; readiness is 503 once Redis accepts nothing either."""
    await pool.execute("DROP TABLE schema_migrations")
    assert await receiver.call("GET", "/readyz") == (200, {"postgres": "not migrated", "redis": "durable"})
    async with Redis.from_url(redis_url) as redis:
        await redis.config_set("appendfsync", "no")
        try:
            await _readyz_becomes(receiver, (503, {"postgres": "not migrated", "redis": "away or not durable"}))
        finally:
            await redis.config_set("appendfsync", "always")
    await _readyz_becomes(receiver, (200, {"postgres": "not migrated", "redis": "durable"}))


async def test_a_full_disk_cannot_keep_a_notice(receiver: RunningService, pool: Pool, redis_url: str) -> None:
    """A Postgres whose tables cannot grow is named as full, also for writes, until it takes a notice again."""
    await pool.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
        "CREATE TRIGGER no_room BEFORE INSERT ON notices FOR EACH STATEMENT EXECUTE FUNCTION no_room();"
        "CREATE TRIGGER no_room BEFORE INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION no_room()"
    )
    webhook, order = {"imp_uid": "imp_1", "merchant_uid": "order-1"}, {"merchant_uid": "order-1", "amount": 100}
    assert (await receiver.call("POST", "/webhooks/portone/v1", json=webhook))[0] == 200
    status, problem = await receiver.call("POST", "/orders", json=order, headers=bearer())
    assert (status, "its disk is full" in problem["detail"]) == (503, True)
    await _readyz_becomes(receiver, (200, {"postgres": "disk full", "redis": "durable"}))
    async with Redis.from_url(redis_url) as redis:
        assert await redis.xlen(SPILL_STREAM) == 1
    await pool.execute("DROP FUNCTION no_room CASCADE")
    assert (await receiver.call("POST", "/webhooks/portone/v1", json=webhook))[0] == 200
    await _readyz_becomes(receiver, (200, {"postgres": "ok", "redis": "durable"}))


async def test_readyz_asks_the_databases_once_a_second(receiver: RunningService, redis_url: str) -> None:
    """Anybody may ask, so most answers come from the last one."""
    async with Redis.from_url(redis_url) as redis:
        await redis.config_resetstat()
        await asyncio.gather(*(receiver.call("GET", "/readyz") for _ in range(50)))
        stats = await redis.info("commandstats")
    assert stats["cmdstat_config|get"]["calls"] <= 2 * 3  # three settings a probe


@pytest.mark.parametrize("path", ["/healthz", "/orders/order-1"])
async def test_answers_end_with_a_newline(receiver: RunningService, path: str) -> None:
    """Answers and problems end with a newline, so that a terminal's prompt starts on a new line."""
    async with receiver.session.get(f"{receiver.url}{path}") as answer:
        assert (await answer.read()).endswith(b"}\n")


async def test_the_promise_is_kept_while_nothing_waits(receiver: RunningService) -> None:
    """Without due or parked notices and problems, the promise is kept."""
    status, body = await receiver.call("GET", "/healthz/promise", headers=bearer())
    assert status == 200
    assert (body["broken"], body["open_notices"], body["parked_notices"]) == ([], 0, 0)


async def test_an_old_notice_breaks_the_promise(receiver: RunningService, pool: Pool) -> None:
    """A notice that was not looked at in time breaks the promise, with a reason."""
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, registered, due_at)"
        " VALUES (gen_random_uuid(), 'webhook', 'imp_1', true, now() - interval '2 minutes')"
    )
    status, body = await receiver.call("GET", "/healthz/promise", headers=bearer())
    assert status == 503
    [said] = body["broken"]
    waited = re.fullmatch(r"a notice has been due for (\d+) s", said)
    assert waited
    assert 120 <= int(waited[1]) < 240  # it goes on waiting while a busy machine asks


@pytest.mark.parametrize("path", ["/healthz/promise", "/metrics"])
async def test_the_promise_and_the_metrics_want_a_key(receiver: RunningService, path: str) -> None:
    """The promise and the metrics are answered only with a key."""
    status, _ = await receiver.call("GET", path)
    assert status == 401


async def test_metrics_count_what_was_accepted(receiver: RunningService) -> None:
    """The metrics count an accepted webhook."""
    await receiver.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1", "merchant_uid": "order-1"})
    _, text = await receiver.call("GET", "/metrics", headers=bearer())
    assert "notices_accepted_total 1.0" in text
    assert "promise_open_notices 1.0" in text


async def test_metrics_count_each_answer_once(receiver: RunningService) -> None:
    """Each answer is counted once by its status, however often the metrics are read."""
    for _ in range(2):
        await receiver.call("POST", "/webhooks/portone/v1", json={"imp_uid": "imp_1"})
    await receiver.call("POST", "/webhooks/portone/v1", json={})
    for before in range(2):
        _, text = await receiver.call("GET", "/metrics", headers=bearer())
        assert f'requests_total{{status="200"}} {2 + before}.0' in text  # the metrics themselves are an answer
        assert 'requests_total{status="400"} 1.0' in text
