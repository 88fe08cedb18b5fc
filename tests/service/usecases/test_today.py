"""Today at a glance: what was paid and when, what waits, and how PortOne and the endpoints do."""

from datetime import UTC, datetime, timedelta

import pytest

from service.db import today
from service.db.pool import Pool, in_transaction
from service.db.today import Span
from service.domain.delivery import Disabled
from service.settings import Settings
from service.usecases.today import HOURS, DayHours, PortOneHealth, read_today

# Of each order three versions: pending, paid, and paid with something else changed.
_EVENTS = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                              problems, cause, at)
    SELECT $1 || n, v, CASE v WHEN 1 THEN 'pending' ELSE 'paid' END, 1, 'KRW', 0, 0, '[]', 'look', $2
    FROM generate_series(1, $3::int) AS n, generate_series(1, 3) AS v ORDER BY v, n
"""
_NOTICE = """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, due_at)
    VALUES (gen_random_uuid(), $1, $2, 'order-1', $3, now() - $4::interval)
"""
_WORKER = """
    INSERT INTO processes (id, kind, host, pid, version, clock_ahead_seconds, settings, refused_accounts, away_accounts)
    VALUES (gen_random_uuid(), 'worker', gen_random_uuid(), 1, '1', 0, '{}', $1, $2)
"""
_ENDPOINT = """
    INSERT INTO endpoints (name, url, secret, told_to, disabled_at, disabled_why, failures, failing_since)
    VALUES ($1, 'https://a.example', 's', 0, CASE WHEN $2::text IS NULL THEN NULL ELSE now() END, $2, $3,
            CASE $3::int WHEN 0 THEN NULL ELSE now() END)
"""
_SINCE, _EARLIER = "2026-01-01T00:00:00+00:00", "2025-12-31T00:00:00+00:00"


async def test_an_order_counts_once_in_the_hour_in_which_it_became_paid(pool: Pool, settings: Settings) -> None:
    """Only the version that made an order paid counts as paid, and only if it is of the last day."""
    now = await in_transaction(pool, today.clock)
    await pool.execute(_EVENTS, "old-", now - timedelta(days=2), 5)
    await pool.execute(_EVENTS, "earlier-", now - timedelta(hours=3), 2)
    await pool.execute(_EVENTS, "now-", now - timedelta(seconds=1), 1)
    read = await read_today(pool, settings)
    assert [span.since for span in read.hours] == sorted(span.since for span in read.hours)
    assert (len(read.hours), read.paid, read.is_estimated) == (HOURS, 3, False)
    assert read.hours[-4].paid == 2
    assert (read.minute.paid, read.minute.changes) == (1, 3)


async def test_an_hour_that_is_over_is_read_once(pool: Pool, settings: Settings) -> None:
    """The next reading takes the day's earlier hours as they were, and reads the one that is under way."""
    now, hours = await in_transaction(pool, today.clock), DayHours()
    await pool.execute(_EVENTS, "earlier-", now - timedelta(hours=3), 2)
    await read_today(pool, settings, hours)
    await pool.execute("DELETE FROM order_events")
    await pool.execute(_EVENTS, "now-", now, 1)
    read = await read_today(pool, settings, hours)
    assert (read.hours[-4].paid, read.hours[-1].paid, len(read.hours)) == (2, 1, HOURS)


async def test_of_a_busy_span_the_newest_events_stand_for_all(
    pool: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span with more events than are read is estimated from the newest, and says so."""
    now = await in_transaction(pool, today.clock)
    monkeypatch.setattr(today, "EVENTS_READ_MAX", 300)
    for minute in range(10):
        await pool.execute(_EVENTS, f"order-{minute}-", now - timedelta(minutes=10 - minute), 100)
    [span] = await in_transaction(pool, today.spans, [now - timedelta(hours=1)])
    assert span == Span(now - timedelta(hours=1), 3000, 1000, estimated=True)


async def test_the_notice_that_has_been_due_the_longest_is_named(pool: Pool, settings: Settings) -> None:
    """The oldest due notice of a registered order is shown; an older one that may be invented is not."""
    assert (await read_today(pool, settings)).longest_due is None
    for source, imp_uid, registered, ago in (
        ("webhook", "imp_1", True, 10),
        ("reconcile", "imp_2", True, 90),
        ("webhook", "imp_3", False, 500),
    ):
        await pool.execute(_NOTICE, source, imp_uid, registered, timedelta(seconds=ago))
    read = await read_today(pool, settings)
    assert read.longest_due
    assert (read.longest_due.imp_uid, read.longest_due.merchant_uid) == ("imp_2", "order-1")
    assert 90 <= read.longest_due.due_seconds < 150
    assert read.measure.open_notices == 3
    assert read.broken[0].startswith("a notice has been due for ")


async def test_portones_health_is_what_the_workers_say(pool: Pool, settings: Settings) -> None:
    """A key that any worker's PortOne refuses comes first, then a PortOne that does not answer, since when it began."""
    assert (await read_today(pool, settings)).portone == [PortOneHealth("default", "unknown")]
    await pool.execute(_WORKER, {}, {})
    assert (await read_today(pool, settings)).portone == [PortOneHealth("default", "answers")]
    await pool.execute(_WORKER, {}, {"default": _SINCE})
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert (await read_today(pool, settings)).portone == [PortOneHealth("default", "away", since)]
    for at in (_SINCE, _EARLIER):
        await pool.execute(_WORKER, {"default": at}, {})
    earlier = since - timedelta(days=1)
    read = await read_today(pool, settings)
    assert read.portone == [PortOneHealth("default", "key_refused", earlier)]
    assert (read.workers, read.receivers) == (4, 0)


async def test_an_endpoint_that_a_person_disabled_is_not_down(pool: Pool, settings: Settings) -> None:
    """Endpoints that fail, or were disabled for it, are down; one that failed once or that a person disabled is not."""
    for name, why, failures in (
        ("gone", Disabled.GONE, 0),
        ("failing", None, 10),
        ("once", None, 1),
        ("quiet", Disabled.OPERATOR, 0),
    ):
        await pool.execute(_ENDPOINT, name, why, failures)
    read = await read_today(pool, settings)
    assert (read.endpoints, read.endpoints_down) == (4, ["failing", "gone"])
