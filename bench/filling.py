"""Fill the tables with settled orders as the service leaves them: with events, payments and notices of their times."""

import asyncio
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from bench import orders, standin
from bench.databases import Databases
from bench.measure import BenchFailed
from service.db.migrate import migrate
from service.domain.evidence import Cause, of_stored
from service.domain.payment import Payment, Store
from service.portone.payment import read_payment

# The arguments of each share of the orders.
_Shares = list[tuple[Any, ...]]

_SECONDS = 3_600
_AT_ONCE = 500_000
# What is on the disk while tables are filled: an order's rows, and WAL that is not recycled yet.
_ORDER_BYTES, _WAL_BYTES = 2_000, 6 * 10**9
_TROUBLED = 1_000
# Otherwise the session's inserts are counted once more after the vacuum has counted the rows.
_COUNTED = "SELECT pg_stat_force_next_flush()"
_CLEANS_UP = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')"


@dataclass(frozen=True)
class Filling:
    """The orders to fill in, of which a thousand have a problem; the newest is of now, the oldest is `days` old.

    Of each order that is paid there is a notice of each source. Not yet paid are the newest `new` orders, and as many
    that are spread over all others.
    """

    orders: int
    days: float = 365.0
    sources: tuple[str, ...] = ("webhook",)
    new: int = 0

    @property
    def numbers(self) -> range:
        return range(orders.FIRST, orders.FIRST + self.orders)

    @property
    def pending_new(self) -> range:
        return self.numbers[self.orders - self.new :]

    @property
    def pending_spread(self) -> range:
        """The unpaid orders that are spread over the table: each whose number this range's step divides."""
        older = self.orders - self.new
        apart = older // self.new if self.new else self.orders + 1
        first = orders.FIRST + -orders.FIRST % apart
        return range(first, orders.FIRST + older, apart)[: self.new]


# The orders from `lowest` to `highest`, in the order of their numbers and times.
_FUNCTIONS = """
    CREATE FUNCTION pg_temp.filled(lowest bigint, highest bigint, newest bigint, newest_at timestamptz, apart interval,
                                   troubled_every bigint, pending_every bigint, pending_to bigint, pending_from bigint)
    RETURNS TABLE (n bigint, at timestamptz, amount bigint, paid boolean, problems jsonb) LANGUAGE sql STABLE AS $$
        SELECT n, newest_at - (newest - n) * apart, 1000 + n % 997 * 100,
               n < pending_from AND NOT (n % pending_every = 0 AND n < pending_to),
               CASE WHEN n % troubled_every = 1
                    THEN jsonb_build_array(jsonb_build_object('kind', 'duplicate_payment', 'imp_uid', 'imp_' || n))
                    ELSE '[]' END
        FROM generate_series(lowest, highest) AS n
    $$;
    -- A UUIDv7, as service/notice_ids.py makes one.
    CREATE FUNCTION pg_temp.notice_id(n bigint, source text, at timestamptz) RETURNS uuid LANGUAGE sql STABLE AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(digits, 1, 3)
                || '8' || substr(digits, 4, 15))::uuid
        FROM (SELECT md5(n || source) AS digits) AS d
    $$;
"""
_ORDERS = """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state, paid_amount, imp_uid, version, problems,
                        created_at, updated_at)
    SELECT 'order_' || n, amount, 'KRW', $4::timestamptz + interval '30 days',
           CASE WHEN paid THEN 'paid' ELSE 'pending' END, CASE WHEN paid THEN amount ELSE 0 END,
           CASE WHEN paid THEN 'imp_' || n END, CASE WHEN paid THEN 2 ELSE 1 END,
           CASE WHEN paid THEN problems ELSE '[]' END, at, at
    FROM pg_temp.filled($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_CHECKS = """
    INSERT INTO order_checks (merchant_uid, next_check_at)
    SELECT 'order_' || n, $4::timestamptz + interval '1 day'
    FROM pg_temp.filled($1, $2, $3, $4, $5, $6, $7, $8, $9) WHERE NOT paid
"""
_PAYMENTS = """
    INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
                          cancellations, live, started_at, paid_at, details, written_ticket, seen_at)
    SELECT 'imp_' || n, 'order_' || n, 'default', '', 'paid', amount, 'KRW', 0, 0, true, $10, $11,
           jsonb_set($12::jsonb, '{pg_tid}', to_jsonb(rtrim($12::jsonb->>'pg_tid', '0123456789') || n)), 1, at
    FROM pg_temp.filled($1, $2, $3, $4, $5, $6, $7, $8, $9) WHERE paid
"""
_NOTICES = """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, claimed_status, registered, received_at, tries, handled_at,
                         last_outcome)
    SELECT pg_temp.notice_id(n, source, at), source, 'imp_' || n, 'order_' || n, 'paid', true, at, 1, at, 'looked'
    FROM pg_temp.filled($1, $2, $3, $4, $5, $6, $7, $8, $9), unnest($10::text[]) AS source WHERE paid
"""
_EVENTS = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid,
                              problems, at, cause, notice_id, source, looked_at, ticket, facts)
    SELECT 'order_' || n, v, CASE v WHEN 1 THEN 'pending' ELSE 'paid' END, amount, 'KRW',
           CASE v WHEN 1 THEN 0 ELSE amount END, 0, CASE v WHEN 2 THEN 'imp_' || n END,
           CASE v WHEN 1 THEN '[]' ELSE problems END, at, CASE v WHEN 1 THEN 'registration' ELSE 'look' END,
           CASE v WHEN 2 THEN pg_temp.notice_id(n, $10, at) END, CASE v WHEN 2 THEN $10 END,
           CASE v WHEN 2 THEN at END, CASE v WHEN 2 THEN 1 END,
           CASE v WHEN 1 THEN '[]'
                ELSE jsonb_build_array($11::jsonb || jsonb_build_object('imp_uid', 'imp_' || n, 'amount', amount)) END
    FROM pg_temp.filled($1, $2, $3, $4, $5, $6, $7, $8, $9)
         CROSS JOIN LATERAL generate_series(1, CASE WHEN paid THEN 2 ELSE 1 END) AS v
"""
# What waits for a person, and for tomorrow.
_WAITING = """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, tries, parked_at, due_at, last_outcome)
    SELECT gen_random_uuid(), 'webhook', 'imp_lost_' || n, 'order_lost_' || n, true, 8,
           CASE WHEN n % 2 = 0 THEN now() END, CASE WHEN n % 2 = 1 THEN now() + interval '1 day' END, 'payment_unknown'
    FROM generate_series(1, 2000) AS n
"""


async def fill(databases: Databases, filling: Filling) -> float:
    """Make the database again with these orders, vacuumed. Return the seconds that it took. Raises BenchFailed."""
    _check_room(databases.folder, filling)
    began = time.monotonic()
    await databases.empty()
    await migrate(databases.database_url)
    await _set(databases, {"autovacuum": "off", "max_wal_size": "4GB"})
    payment, shares = read_payment(orjson.loads(standin.payment(0)), Store("default")), _shares(filling)
    await asyncio.gather(
        _fill_orders(databases, shares, filling.sources, payment),
        _fill_events(databases, shares, filling.sources[0], payment),
    )
    await _set(databases, {"autovacuum": None, "max_wal_size": None})
    async with databases.session() as session:
        # What filling leaves to do is not a shop's.
        await session.execute("CHECKPOINT", timeout=_SECONDS)
        while await session.fetchval(_CLEANS_UP):  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(1)
    return time.monotonic() - began


def _check_room(folder: Path, filling: Filling) -> None:
    needed = _ORDER_BYTES * filling.orders + _WAL_BYTES * min(1, filling.orders / 10**6)
    if needed > (free := shutil.disk_usage(folder).free):
        raise BenchFailed(f"{filling.orders:,} orders need {needed / 1e9:.0f} GB of disk; {free / 1e9:.0f} GB are free")


async def _set(databases: Databases, options: Mapping[str, str | None]) -> None:
    """Set options of Postgres; None: as they were."""
    async with databases.session() as session:
        for name, value in options.items():
            await session.execute(f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}")
        await session.execute("SELECT pg_reload_conf()")


async def _fill_orders(databases: Databases, shares: _Shares, sources: tuple[str, ...], payment: Payment) -> None:
    details = orjson.dumps(dict(payment.details)).decode()
    async with databases.session() as session:
        await _prepare(session)
        for share in shares:
            await session.execute(_ORDERS, *share, timeout=_SECONDS)
            await session.execute(_CHECKS, *share, timeout=_SECONDS)
            await session.execute(_PAYMENTS, *share, payment.started_at, payment.paid_at, details, timeout=_SECONDS)
            await session.execute(_NOTICES, *share, list(sources), timeout=_SECONDS)
        await session.execute(_WAITING)
        await session.execute(_COUNTED)
        await session.execute("VACUUM (ANALYZE) orders, order_checks, payments, notices", timeout=_SECONDS)


async def _fill_events(databases: Databases, shares: _Shares, source: str, payment: Payment) -> None:
    [facts] = of_stored(Cause.LOOK, [payment]).facts
    async with databases.session() as session:
        await _prepare(session)
        for share in shares:
            await session.execute(_EVENTS, *share, source, orjson.dumps(facts).decode(), timeout=_SECONDS)
        await session.execute(_COUNTED)
        await session.execute("VACUUM (ANALYZE) order_events", timeout=_SECONDS)


async def _prepare(session: Any) -> None:
    await session.execute("SET statement_timeout = 0")
    await session.execute(_FUNCTIONS)


def _shares(filling: Filling) -> _Shares:
    """Return the arguments of pg_temp.filled, with which each statement begins, for one share after the other."""
    numbers, spread, now = filling.numbers, filling.pending_spread, datetime.now(UTC)
    rest = (
        numbers[-1],
        now,
        timedelta(days=filling.days) / filling.orders,
        max(1, filling.orders // _TROUBLED),
        spread.step,
        spread.stop,
        numbers[-1] + 1 - filling.new,
    )
    return [
        (numbers[start], numbers[min(start + _AT_ONCE, filling.orders) - 1], *rest)
        for start in range(0, filling.orders, _AT_ONCE)
    ]
