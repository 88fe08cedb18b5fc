"""The frequent statements use their indexes, whatever the size of the tables."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from service.db import (
    archives,
    completion_facts,
    console_sessions,
    deliveries,
    endpoints,
    feed,
    idempotency_keys,
    looks,
    notice_list,
    notices,
    operator_actions,
    order_checks,
    order_events,
    order_list,
    order_search,
    order_story,
    order_views,
    orders,
    payments,
    problems,
    promise,
    refunds,
    searches,
    today,
)
from service.db.deliveries import LateOrder, MovedOrder, TurnResult
from service.db.idempotency_keys import CallClaim, CallKey, FirstAnswer
from service.db.order_list import Filters
from service.db.order_search import OrderSearch
from service.db.pool import Connection, Pool
from service.domain.completion import Searched
from service.domain.judgement import THIS_WRITE, Handled, Judgement, Postponed
from service.domain.notice import Notice, Outcome, Source
from service.domain.payment import Payment, Status, Store
from service.domain.settle import settle
from service.domain.staleness import StoredLook
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from tests.service import stored

# Tables that may be read completely: they have a row for each account and tier, or for each endpoint.
_SMALL = {"ledger_scans", "endpoints"}
# Indexes that may be read completely: they contain only the wanted rows.
_PARTIAL = {
    "orders_with_problems",
    "notices_due",
    "notices_parked_own",
    "notices_parked_order",
    "payments_unregistered",
    "refunds_due",
    "refunds_unknown",
}


class Explaining:
    """A connection that reads each statement's plan before it runs the statement."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.scanned: set[str] = set()
        self.explained = 0

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def explained(statement: str, *args: Any) -> Any:
            [row] = await self._connection.fetch(f"EXPLAIN (FORMAT JSON, GENERIC_PLAN on) {statement}", *args)
            [plan] = orjson.loads(row[0])
            self.scanned |= set(_whole_tables(plan["Plan"]))
            self.explained += 1
            return await getattr(self._connection, name)(statement, *args)

        return explained


def _whole_tables(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a plan reads completely, also by an index, because a plan is kept as tables grow."""
    by_index = "Index Cond" in plan or "Recheck Cond" in plan or plan.get("Index Name") in _PARTIAL
    if plan.get("Relation Name", "ledger_scans") not in _SMALL and not by_index and "Scan" in plan["Node Type"]:
        yield plan["Relation Name"]
    for part in plan.get("Plans", []):
        yield from _whole_tables(part)


async def _record(db: Any) -> None:
    await notices.record(db, [_notice()], timedelta(seconds=3))


async def _claim(db: Any) -> None:
    notice = _notice()
    await notices.record(db, [notice], timedelta(seconds=3))
    await looks.claim(db, [notice.id], Timetable(), allow_test_channel=False)


async def _write(db: Any) -> None:
    await orders.lock(db, ["order-1"])
    await payments.lock(db, ["order-1"], ["imp_1"])
    await payments.of_orders(db, ["order-1"])
    rows = await orders.settled(db, ["order-1"], allow_test_channel=False)
    assert rows


async def _sweep(db: Any) -> None:
    await notices.take_due(db, timedelta(seconds=3), lane=0, limit=100)


async def _reconcile(db: Any) -> None:
    await order_checks.take_silent(db, 100, Timetable())
    await orders.unsettled_with_money(db, ["order-1"])
    await payments.read(db, ["imp_1"])
    await notices.record_differences(db, [_notice()])
    await notices.replay_parked(db, None, [Store("default")], 100)
    await notices.replay_of_order(db, "order-1")
    await order_checks.ask_again(db, ["order-1"], timedelta())


async def _prune(db: Any) -> None:
    await notices.prune(db, timedelta(days=30), timedelta(days=3), 100)


async def _measure(db: Any) -> None:
    await promise.measure(db, [Store("default")])
    await refunds.count_open(db)


async def _search(db: Any) -> None:
    times = Timetable()
    [wanted_at] = (await searches.want(db, ["order-1"], times.spacing)).values()
    for search in await searches.claim(db, 16, times.search_lease):
        await searches.end(db, search, Searched(Outcome.LOOKED), None, times.spacing)
    [facts] = await completion_facts.of_orders(db, [("order-1", wanted_at)], allow_test_channel=False)
    assert facts.searched == Searched(Outcome.LOOKED)


async def _read(db: Any) -> None:
    assert await order_views.read(db, ["order-1"])
    await completion_facts.of_payments(db, [(new_notice_id(), "imp_1")], allow_test_channel=False)
    await orders.payable(db, ["order-1"])


async def _list(db: Any) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    for filters in (
        Filters(),
        Filters(states=["paid"], account="default"),
        Filters(problems=["wrong_amount"]),
        Filters(merchant_uids=["order-1", "order-2"]),
        Filters(updated_since=since),
    ):
        place = await order_list.first_place(db, filters)
        await order_list.walk(db, filters, place, 100)
    await order_events.after(db, "order-1", 0, 100)


async def _repeat(db: Any) -> None:
    calls = [CallKey(bytes([number]) * 32, b"f" * 32) for number in range(2)]
    found = await idempotency_keys.claim(db, calls, timedelta(seconds=30), timedelta(days=1))
    one, other = (claim for claim in found.values() if isinstance(claim, CallClaim))
    await idempotency_keys.end(db, [(one, FirstAnswer(200, {}, b""))])
    await idempotency_keys.give_back(db, [other])
    await idempotency_keys.prune(db, datetime.now(UTC) + timedelta(hours=1), 100)


async def _feed(db: Any) -> None:
    position = await feed.position(db)
    await feed.events(db, 0, position.last_id, 10)
    await feed.events_of(db, ["order-1"], 0, position.last_id, 10)
    await feed.newest(db, position.last_id)


async def _tell(db: Any) -> None:
    await endpoints.add(db, "warehouse", "https://warehouse.example/", (), "whsec_", oldest=True)
    late = LateOrder("order-1", 1, 1, 0)
    for told_to in (0, 1):  # the order is made late, then catches up
        [turn] = await deliveries.claim(db, 2**62, 8, timedelta(seconds=20))
        await deliveries.due_late_orders(db, turn.name, 200)
        await deliveries.late_among(db, turn.name, ["order-1"])
        moved, ended = ([], [late]) if told_to else ([MovedOrder(late, timedelta())], [])
        await deliveries.end_turn(db, turn, TurnResult(told_to, moved, ended, []), timedelta(), None)
    await deliveries.end_slow(db, turn, TurnResult(0, [MovedOrder(late, timedelta())], [], []))
    await deliveries.make_due(db, "warehouse")
    await endpoints.keep_place(db, "warehouse")
    await endpoints.move_back(db, "warehouse", {"order-1": 1})
    await endpoints.has_event(db, 1)
    await endpoints.read(db)
    await endpoints.attempts(db, "warehouse", 20)


async def _today(db: Any) -> None:
    now = await today.clock(db)
    await today.spans(db, [now - timedelta(hours=2), now - timedelta(hours=1)])
    await today.longest_due(db)
    await today.waiting_orders(db)
    await today.open_outcomes(db)


async def _look_at_the_console(db: Any) -> None:
    await console_sessions.start(db, b"d" * 32, b"k" * 32, timedelta(hours=8))
    await console_sessions.find(db, b"d" * 32)
    await operator_actions.newest(db, None, 50)
    await notice_list.parked_after(db, None, 50)
    await notice_list.own_parked_after(db, None, 50)
    await notice_list.unregistered_parked_after(db, None, 50)
    await notice_list.parked_of_store(db, Store("b", "xyz"), 1_000)
    await notice_list.known_by(db, "imp_1", 50)
    await notice_list.known_by(db, "01a21e9b", 50)
    await notice_list.next_due(db, 50)
    await notice_list.one(db, new_notice_id())
    await problems.of_numbers(db, ["order-1"])


async def _look_for_an_order(db: Any) -> None:
    await order_search.named(db, "imp_1")
    await order_search.numbered(db, "order-", "", 50)
    for search in (OrderSearch(), OrderSearch(["paid"], 100, "KRW", datetime.now(UTC), datetime.now(UTC))):
        await order_search.newest(db, search, None, 50)


_OLD = (
    """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state, paid_amount, imp_uid, updated_at)
    VALUES ('old', 100, 'KRW', now(), 'paid', 100, 'imp_old', now() - interval '2 years')
    """,
    """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    VALUES ('old', 1, 'paid', 100, 'KRW', 100, 0, '[]', 'registration')
    """,
    """
    INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
                          cancellations, live, details, written_ticket)
    VALUES ('imp_old', 'old', 'default', '', 'paid', 100, 'KRW', 0, 0, true, '{}', 1)
    """,
)


async def _archive(db: Any) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=365)
    for statement in _OLD:
        await db.execute(statement)
    await archives.expected(db)
    walked = await archives.walk(db, "ol", long_ago, 1, contents=True)
    archive = await archives.describe(db, uuid4(), "old", long_ago)
    assert (await archives.delete(db, archive, long_ago, walked.content)).deleted == 1
    assert await archives.find(db, ["old"])
    assert await archives.missing_events(db, {"old": 1}) == []
    assert await archives.restore(db, walked.content) == ["old"]


async def _read_a_story(db: Any) -> None:
    await order_story.payments(db, "order-1", 50)
    await order_events.history(db, "order-1", 50)
    await notice_list.of_order(db, "order-1", ["imp_1"], 50)
    await order_story.refund_moves(db, ["imp_1"], 50)
    await order_story.resolutions(db, ["imp_1"], 50)
    await operator_actions.about(db, ["imp_1"], 50)
    await order_story.deliveries(db, "order-1", 50)
    await order_story.last_asked_at(db, "order-1", ["imp_1"])
    await problems.unregistered_of(db, ["imp_1"])
    await order_search.of_numbers(db, ["order-1"])


async def _answer_the_command(db: Any) -> None:
    await notices.record(db, [_notice()], timedelta(seconds=3))
    await order_story.attempts(db, "order-1")
    await order_story.waiting(db, "order-1", 20)
    assert (await notice_list.about(db, "order-1", 1)).notices


_WORK = (
    *(_record, _claim, _write, _sweep, _reconcile, _prune, _measure, _search, _read, _list, _repeat, _feed, _tell),
    *(_today, _look_at_the_console, _look_for_an_order, _read_a_story, _answer_the_command),
    _archive,
)


async def _know_the_tables_to_be_empty(pool: Pool) -> None:
    """Let Postgres count the tables while they are empty, and forget the plans that it made before."""
    await pool.execute("VACUUM ANALYZE")
    await pool.expire_connections()


async def _scanned(pool: Pool, work: Callable[[Any], Awaitable[None]]) -> set[str]:
    async with pool.acquire() as connection:
        explaining = Explaining(connection)
        await work(explaining)
    assert explaining.explained > 0
    return explaining.scanned


@pytest.mark.parametrize("work", _WORK)
async def test_no_hot_statement_reads_a_whole_table(pool: Pool, work: Callable[[Any], Awaitable[None]]) -> None:
    """Each frequent statement has an index, even with a plan that was made while its tables were empty."""
    await stored.register_order(pool, "order-1")
    assert await _scanned(pool, work) == set()


@pytest.mark.parametrize("work", _WORK)
async def test_nor_where_the_tables_were_known_to_be_empty(pool: Pool, work: Callable[[Any], Awaitable[None]]) -> None:
    """A plan that was made just after Postgres had counted the empty tables reads none of them completely either."""
    await stored.register_order(pool, "order-1")
    await _know_the_tables_to_be_empty(pool)
    assert await _scanned(pool, work) == set()


# The service's own statements end within seconds.
_A_MILLION = """
    SET statement_timeout = 0;
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state)
    SELECT 'order-' || n, 64900, 'KRW', now() + interval '30 days', 'pending' FROM generate_series(1, 1000000) AS n
"""


async def test_nor_does_it_among_a_million_orders(pool: Pool) -> None:
    """With a million orders the planner still finds a few rows by index."""
    await stored.register_order(pool, "order-0")  # its event is what an endpoint is told of
    await pool.execute(_A_MILLION, timeout=120)
    await pool.execute("ANALYZE orders", timeout=60)
    assert {work.__name__: await _scanned(pool, work) for work in _WORK} == {work.__name__: set() for work in _WORK}


_READ = """
    SELECT relname, coalesce(seq_scan, 0) AS whole, coalesce(idx_tup_fetch, 0) AS rows
    FROM pg_stat_xact_user_tables WHERE relname IN ('notices', 'orders', 'payments', 'order_events')
"""


async def _claim_and_write(db: Connection, number: int) -> None:
    notice = replace(_notice(), imp_uid=f"imp_{number}", merchant_uid=f"order-{number}")
    await notices.record(db, [notice], timedelta(seconds=3))
    claim = await looks.claim(db, [notice.id], Timetable(), allow_test_channel=False)
    [order] = claim.fresh.values()
    payment = Payment(notice.imp_uid, f"order-{number}", Store("default"), Status.PAID, 64900, "KRW")
    judgement = Judgement(
        [StoredLook(payment, THIS_WRITE)],
        [(order, settle(order.terms, [payment]))],
        [(claimed, Handled(Outcome.LOOKED)) for claimed in claim.to_look],
    )
    await looks.write_if_unchanged(db, [order], judgement, Timetable())


@pytest.mark.parametrize("table", ["small", "a million orders"])
async def test_nor_do_the_functions(pool: Pool, table: str) -> None:
    """A claim and a write read only a few rows by index, whichever plans their functions keep."""
    await pool.execute(_A_MILLION if table != "small" else _A_MILLION.replace("1000000", "50"), timeout=120)
    async with pool.acquire() as db:
        for number in range(1, 10):  # from the sixth call on, a cached plan
            async with db.transaction():
                await _claim_and_write(db, number)
                read = await db.fetch(_READ)  # counted since the first call
            assert [row["relname"] for row in read if row["whole"] or row["rows"] > 6 * number] == []


def _notice(imp_uids: Sequence[str] = ("imp_1",)) -> Notice:
    return Notice(new_notice_id(), Source.WEBHOOK, imp_uids[0], "order-1", claimed_status="paid")


async def test_recording_beside_many_open_notices(pool: Pool) -> None:
    """A plan that was made while Postgres knew the table to be empty reads none of what is open beside a batch."""
    await stored.register_order(pool, "order-1")
    await _know_the_tables_to_be_empty(pool)
    async with pool.acquire() as db:
        for number in range(1, 3):
            await _record_and_claim(db, number)
        many = [replace(_notice(), imp_uid=f"imp_{number}") for number in range(1000, 2000)]
        await notices.record(db, many, timedelta(seconds=3))
        async with db.transaction():
            await _record_and_claim(db, 3)
            assert await notices.take_due(db, timedelta(seconds=3), lane=0, limit=10) == []
            rows = await db.fetch(_READ)
    assert [row["rows"] for row in rows if row["relname"] == "notices" and row["rows"] > 40] == []


async def _record_and_claim(db: Connection, number: int) -> None:
    given = [_notice(), replace(_notice(), imp_uid=f"imp_new_{number}")]
    ids = await notices.record(db, given, timedelta(seconds=3))
    claim = await looks.claim(db, ids, Timetable(), allow_test_channel=False)
    await looks.write(db, [], _postponed(claim), Timetable())


def _postponed(claim: looks.Claim) -> Judgement:
    wait = Postponed(Outcome.PAYMENT_UNKNOWN, timedelta(minutes=1))
    return Judgement(fates=[(notice, wait) for notice in claim.to_look])


_OF_ONE_PAYMENT = """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, handled_at, last_outcome)
    SELECT gen_random_uuid(), 'webhook', 'imp_1', 'order-1', true, now(), 'looked' FROM generate_series(1, 100000)
"""
_OF_ONE_ORDER = (
    """
    INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
                          cancellations, live, details, written_ticket)
    SELECT 'imp_window_' || n, 'order-1', 'default', '', 'ready', 64900, 'KRW', 0, 0, true, '{}', 0
    FROM generate_series(1, 100000) AS n
    """,
    """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, due_at)
    SELECT gen_random_uuid(), 'webhook', 'imp_invented_' || n, 'order-1', true, now() + interval '1 minute'
    FROM generate_series(1, 100000) AS n
    """,
    """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, registered, crowded, due_at, last_outcome)
    SELECT gen_random_uuid(), 'webhook', 'imp_crowd_' || n, 'order-1', true, n > 8, now(), 'payment_unknown'
    FROM generate_series(1, 100000) AS n
    """,
)
_OF_ONE_ACCOUNT = (
    """
    INSERT INTO notices (id, source, imp_uid, account, registered, due_at)
    SELECT gen_random_uuid(), 'webhook', 'imp_due_' || n, 'default', false, now() - interval '1 minute'
    FROM generate_series(1, 100000) AS n
    """,
    """
    INSERT INTO notices (id, source, imp_uid, merchant_uid, account, registered, parked_at, last_outcome)
    SELECT gen_random_uuid(), 'webhook', 'imp_parked_' || n, 'order-' || n, 'default', true,
           now() - interval '1 hour', 'order_not_registered'
    FROM generate_series(1, 100000) AS n
    """,
)


@pytest.mark.parametrize(
    "rows",
    [(_OF_ONE_PAYMENT,), _OF_ONE_ORDER, _OF_ONE_ACCOUNT],
    ids=["of one payment", "of one order", "of one account"],
)
@pytest.mark.parametrize("counted", ["counted", "not counted"])
async def test_a_notice_costs_the_same_beside_a_hundred_thousand_rows(
    pool: Pool, rows: Sequence[str], counted: str
) -> None:
    """Recording, claiming, writing and sweeping read a few rows, however many there are of one payment or order."""
    await stored.register_order(pool, "order-1")
    for statement in rows:
        await pool.execute(statement, timeout=120)
    if counted == "counted":
        await pool.execute("ANALYZE", timeout=60)
    async with pool.acquire() as db, db.transaction():
        notice = _notice()
        await notices.record(db, [notice], timedelta(seconds=3))
        claim = await looks.claim(db, [notice.id], Timetable(), allow_test_channel=False)
        await _write(db)
        await looks.write(db, [], _postponed(claim), Timetable())
        await notices.record_differences(db, [_notice()])
        await notices.replay_of_order(db, "order-1")
        await notices.take_due(db, timedelta(seconds=3), lane=0, limit=100)
        await notices.take_due(db, timedelta(seconds=3), lane=2, limit=10)
        await notices.replay_parked(db, None, [Store("default")], 10)
        read = await db.fetch(_READ)
    assert [(row["relname"], row["rows"]) for row in read if row["whole"] or row["rows"] > 150] == []


async def test_a_list_reads_a_bounded_number_of_rows(pool: Pool) -> None:
    """A page of a list reads no more rows than it may, also with a plan from before, and of problems only those."""
    await stored.register_order(pool, "order-0")
    await _know_the_tables_to_be_empty(pool)
    walks = [
        (Filters(states=["paid"]), 2 * order_list.ROWS_MAX),
        (Filters(problems=["wrong_amount"]), 10),
        (Filters(merchant_uids=["order-1", "order-2"], states=["paid"]), 10),
        (Filters(states=["paid"], updated_since=datetime.now(UTC) - timedelta(hours=1)), 3 * order_list.ROWS_MAX + 100),
    ]
    async with pool.acquire() as db:
        for filters, _ in walks:
            await order_list.walk(db, filters, await order_list.first_place(db, filters), 100)
        await db.execute(_A_MILLION.replace("1000000", "50000"), timeout=120)
        await db.execute(_THEIR_EVENTS, timeout=120)
        for filters, rows_max in walks:
            async with db.transaction():
                before = {row["relname"]: row["rows"] for row in await db.fetch(_READ)}
                walked = await order_list.walk(db, filters, await order_list.first_place(db, filters), 100)
                after = {row["relname"]: row["rows"] for row in await db.fetch(_READ)}
            assert walked.merchant_uids == []
            assert sum(after[name] - before[name] for name in ("orders", "order_events")) <= rows_max, filters


_THEIR_EVENTS = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                              problems, cause)
    SELECT merchant_uid, version, state, amount, currency, 0, 0, '[]', 'registration' FROM orders
    WHERE merchant_uid <> 'order-0'
"""
