"""The claim and the write of a look are one trip to Postgres each (docs/design.md §3, Worker)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.db import looks, notice_list, notices, order_checks, orders
from service.db.looks import Claim
from service.db.pool import Connection, Pool, in_statement, in_transaction
from service.domain.judgement import THIS_WRITE, Fate, Handled, Judgement, Parked, Postponed
from service.domain.notice import Notice, Outcome, Source
from service.domain.order import Order, Settlement, State
from service.domain.payment import Payment, Status, Store
from service.domain.staleness import Lesser, StoredLook
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from tests.running import until
from tests.service import stored

TIMES = Timetable()
PAYMENT = Payment("imp_1", "order-1", stored.DEFAULT, Status.PAID, 64900, "KRW", paid_at=datetime.now(UTC))
PAID = Settlement(State.PAID, 64900, 0, "imp_1")
LOOKED = Handled(Outcome.LOOKED)
WINDOW = replace(PAYMENT, status=Status.READY, paid_at=None)


async def _record(
    pool: Pool,
    imp_uid: str = "imp_1",
    merchant_uid: str | None = "order-1",
    *,
    claimed_status: str | None = "paid",
    cancellation_id: str | None = None,
) -> UUID:
    notice = Notice(
        new_notice_id(),
        Source.WEBHOOK,
        imp_uid,
        merchant_uid,
        claimed_status=claimed_status,
        cancellation_id=cancellation_id,
    )
    [row] = await in_statement(pool, notices.record, [notice], TIMES.queued)
    return row


async def _claim(pool: Pool, *ids: UUID) -> Claim:
    return await in_statement(pool, looks.claim, ids, TIMES, allow_test_channel=False)


async def _ids(pool: Pool, *ids: UUID) -> list[UUID]:
    return [notice.id for notice in (await _claim(pool, *ids)).to_look]


async def _store(pool: Pool, *news: StoredLook) -> None:
    """Store payments as a worker does under the locks."""

    async def work(db: Connection) -> None:
        merchant_uids = [look.payment.merchant_uid for look in news]
        await orders.lock(db, merchant_uids)
        await looks.write(db, merchant_uids, Judgement(news), TIMES)

    await in_transaction(pool, work)


async def _write(pool: Pool, claim: Claim, fate: Fate = LOOKED) -> None:
    judgement = Judgement(
        [StoredLook(PAYMENT, THIS_WRITE)],
        [(order, PAID) for order in claim.fresh.values()],
        [(notice, fate) for notice in claim.to_look],
    )
    async with pool.acquire() as db:
        await looks.write_if_unchanged(db, list(claim.fresh.values()), judgement, TIMES)


async def _forget_looks(pool: Pool) -> None:
    await pool.execute("TRUNCATE last_looks")


async def test_a_claim_says_where_to_look_and_what_the_order_was(pool: Pool) -> None:
    """A claim takes both notices of a payment for one look, once, and returns the order's terms and version."""
    store = Store("shop-b", "abc")
    await stored.register_order(pool, "order-1", 600, "USD", store=store)
    ids = [await _record(pool), await _record(pool, claimed_status=None)]
    claim = await _claim(pool, *ids, new_notice_id())
    assert [(n.id, n.store, n.tries, n.registered) for n in claim.to_look] == [(i, store, 0, True) for i in ids]
    [(name, order)] = claim.fresh.items()
    assert (name, order.terms, order.version) == ("order-1", Order("order-1", 600, "USD", store), 1)
    assert claim.ticket > 0
    rows = await stored.notices(pool, "imp_1")
    assert [(row["tries"], row["claimed_until"] > row["received_at"] + TIMES.queued) for row in rows] == [(1, True)] * 2
    assert await pool.fetchval("SELECT imp_uid FROM last_looks") == "imp_1"
    assert (await _claim(pool, *ids)).to_look == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE notices SET handled_at = now(), due_at = NULL",
        "UPDATE notices SET parked_at = now(), due_at = NULL, last_outcome = 'looked'",
        "UPDATE notices SET claimed_until = now() + interval '1 second'",
        "DELETE FROM notices",
    ],
)
async def test_a_notice_that_ended_or_is_claimed_is_left_alone(pool: Pool, change: str) -> None:
    """A notice that has ended, or whose look is under way, is not claimed."""
    await stored.register_order(pool, "order-1")
    notice_id = await _record(pool)
    await pool.execute(change)
    before = await stored.notices(pool, "imp_1")
    assert await _claim(pool, notice_id) == Claim()
    assert await stored.notices(pool, "imp_1") == before


async def test_a_claim_ends_with_its_lease(pool: Pool) -> None:
    """After its lease, a dead worker's notice can be claimed again, as a second try."""
    notice_id = await _record(pool)
    await _claim(pool, notice_id)
    await pool.execute("UPDATE notices SET claimed_until = now()")
    await _forget_looks(pool)
    [again] = (await _claim(pool, notice_id)).to_look
    assert again.tries == 1


async def test_rows_that_somebody_locks_are_passed_over(pool: Pool) -> None:
    """A claim does not wait for row locks, but skips locked rows and takes the others."""
    ids = [await _record(pool, f"imp_{number}", None) for number in range(2)]
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT FROM notices WHERE id = $1 FOR UPDATE", ids[0])
        async with asyncio.timeout(10):
            assert await _ids(pool, *ids) == [ids[1]]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET state = 'failed'",
        "UPDATE orders SET imp_uid = 'imp_2'",
        "DELETE FROM orders",
    ],
)
async def test_an_order_that_has_moved_is_not_fresh(pool: Pool, change: str) -> None:
    """A notice whose order has changed or is missing is claimed, and its look is decided under the locks."""
    await stored.register_order(pool, "order-1")
    notice_id = await _record(pool)
    await pool.execute(change)
    claim = await _claim(pool, notice_id)
    assert ([notice.id for notice in claim.to_look], claim.fresh) == ([notice_id], {})


@pytest.mark.parametrize(("imp_uid", "merchant_uid"), [("imp_1", "order-2"), ("imp_2", "order-1")])
async def test_nor_is_an_order_of_which_a_payment_is_stored(pool: Pool, imp_uid: str, merchant_uid: str) -> None:
    """An order is not fresh if the payment itself, or another payment of the order, is stored."""
    await stored.register_order(pool, "order-1")
    notice_id = await _record(pool, claimed_status="cancelled")
    await _store(pool, StoredLook(replace(PAYMENT, imp_uid=imp_uid, merchant_uid=merchant_uid), THIS_WRITE))
    assert (await _claim(pool, notice_id)).fresh == {}


@pytest.mark.parametrize(
    ("payment", "notice", "registered", "served"),
    [
        (PAYMENT, {}, True, True),
        (PAYMENT, {}, False, False),
        (PAYMENT, {"claimed_status": "cancelled"}, True, False),
        (PAYMENT, {"claimed_status": None}, True, False),
        (PAYMENT, {"cancellation_id": "c-1"}, True, False),
        (WINDOW, {}, True, False),
        (replace(PAYMENT, status=Status.CANCELLED), {}, True, False),
    ],
)
async def test_a_notice_that_claims_nothing_new_is_served_by_what_is_stored(
    pool: Pool, payment: Payment, notice: dict[str, Any], registered: bool, served: bool
) -> None:
    """Only a notice `paid` of a registered order's payment that is stored as paid needs no look."""
    if registered:
        await stored.register_order(pool, "order-1")
    await _store(pool, StoredLook(payment, THIS_WRITE))
    notice_id = await _record(pool, **notice)
    claim = await _claim(pool, notice_id)
    assert (claim.served, len(claim.to_look)) == ((["imp_1"], 0) if served else ([], 1))
    [row] = await stored.notices(pool, "imp_1")
    assert (row["handled_at"] is not None, row["last_outcome"] == "served_by_stored_look") == (served, served)


async def test_a_replayed_notice_is_looked_at_whatever_is_stored(pool: Pool) -> None:
    """It claims nothing and is as young as its replay, and stands for no notice that comes meanwhile."""
    await stored.register_order(pool, "order-1")
    await _store(pool, StoredLook(PAYMENT, THIS_WRITE))
    parked = await _record(pool)
    await pool.execute("UPDATE notices SET due_at = NULL, received_at = now() - interval '1 day', handled_at = now()")
    assert await in_transaction(pool, notice_list.replay, [parked]) == [parked]
    later = await _record(pool)
    claim = await _claim(pool, parked, later)
    [notice] = claim.to_look
    assert (notice.id, notice.claimed_status, notice.age < timedelta(hours=1)) == (parked, None, True)
    assert claim.served == ["imp_1"]


async def test_a_lesser_answer_that_waits_serves_nobody(pool: Pool) -> None:
    """While a lesser answer is undecided, a notice needs a look."""
    await stored.register_order(pool, "order-1")
    await _store(pool, StoredLook(PAYMENT, 7, Lesser(WINDOW, datetime.now(UTC), THIS_WRITE)))
    notice_id = await _record(pool)
    assert await _ids(pool, notice_id) == [notice_id]


async def test_a_payment_is_looked_at_twice_a_second_at_most(pool: Pool) -> None:
    """A notice that comes too soon is due after the rest of the spacing, keeps its tries, and gets that wait."""
    first, second = await _record(pool, "imp_1", None), await _record(pool, "imp_2", None)
    await _claim(pool, first)
    await pool.execute("UPDATE notices SET claimed_until = NULL")
    claim = await _claim(pool, first, second)
    assert [notice.id for notice in claim.to_look] == [second]
    [(notice_id, wait)] = claim.too_soon
    assert notice_id == first
    assert timedelta() < wait <= TIMES.spacing
    [row] = await stored.notices(pool, "imp_1")
    assert (row["tries"], row["claimed_until"]) == (1, None)
    assert row["due_at"] > row["received_at"] + TIMES.queued


async def test_payments_that_share_a_slot_are_looked_at_all_the_same(pool: Pool) -> None:
    """The later payment takes over a shared slot, so that the worst case is an early look."""
    ids = [await _record(pool, f"imp_{number}", None) for number in range(2)]
    await _claim(pool, ids[0])
    await pool.execute("UPDATE last_looks SET slot = hashtext('imp_1') & 65535")
    assert await _ids(pool, ids[1]) == [ids[1]]
    assert await pool.fetchval("SELECT imp_uid FROM last_looks") == "imp_1"


async def test_a_claim_touches_no_index(pool: Pool) -> None:
    """Most rows that a claim updates stay in their page, so that no index changes."""
    batch = [Notice(new_notice_id(), Source.WEBHOOK, f"imp_{number}") for number in range(100)]
    ids = await in_statement(pool, notices.record, batch, TIMES.queued)
    async with pool.acquire() as db, db.transaction():
        await looks.claim(db, ids, TIMES, allow_test_channel=False)
        in_page = await db.fetchval("SELECT pg_stat_get_xact_tuples_hot_updated('notices'::regclass)")
    assert in_page >= 75  # with full pages, 10


async def test_settling_touches_no_index_of_orders(pool: Pool) -> None:
    """Most orders that a batch settles stay in their page, so that no index changes."""
    names = [f"order-{number}" for number in range(100)]
    for name in names:
        await stored.register_order(pool, name)
    await in_transaction(pool, orders.lock, names)
    read = await in_transaction(pool, orders.settled, names, allow_test_channel=False)
    changes = [(order, Settlement(State.PAID, 64900, 0, f"imp_{order.terms.merchant_uid}")) for order in read]
    async with pool.acquire() as db, db.transaction():
        await looks.write(db, names, Judgement(changes=changes), TIMES)
        in_page = await db.fetchval("SELECT pg_stat_get_xact_tuples_hot_updated('orders'::regclass)")
    assert in_page >= 25  # the first settlement of neighbours at once; with full pages, none


async def test_what_is_settled_is_asked_about_no_more(pool: Pool) -> None:
    """A settled order's row goes when it is due, and an order that is open again is asked about at once."""
    await stored.register_order(pool, "order-1")
    await _write(pool, await _claim(pool, await _record(pool)))
    await pool.execute("UPDATE order_checks SET next_check_at = now()")
    assert await in_transaction(pool, order_checks.take_silent, 100, TIMES) == []
    assert await stored.next_check_at(pool, "order-1") is None

    async def reopen(db: Connection) -> None:
        await orders.lock(db, ["order-1"])
        [order] = await orders.settled(db, ["order-1"], allow_test_channel=False)
        await looks.write(db, ["order-1"], Judgement(changes=[(order, Settlement())]), TIMES)

    await in_transaction(pool, reopen)
    assert await pool.fetchval("SELECT next_check_at <= now() FROM order_checks")


async def test_an_order_that_opens_again_while_its_row_is_ended(pool: Pool) -> None:
    """Reconciliation's end of a settled order's row and a look that opens the order again leave it asked about."""
    await stored.register_order(pool, "order-1")
    await _write(pool, await _claim(pool, await _record(pool)))
    await pool.execute("UPDATE order_checks SET next_check_at = now()")

    async def reopen(db: Connection) -> None:
        await orders.lock(db, ["order-1"])
        [order] = await orders.settled(db, ["order-1"], allow_test_channel=False)
        await looks.write(db, ["order-1"], Judgement(changes=[(order, Settlement())]), TIMES)

    async with pool.acquire() as other:
        async with other.transaction():
            await other.execute("SELECT FROM order_checks FOR UPDATE")  # as reconciliation does before it ends a row
            reopening = asyncio.create_task(in_transaction(pool, reopen))
            await until(lambda: stored.waits_for_a_lock(pool))
            assert await order_checks.take_silent(other, 100, TIMES) == []
        await reopening
    assert await stored.next_check_at(pool, "order-1") is not None


async def test_a_payment_has_one_claim_at_a_time(pool: Pool) -> None:
    """A second claim of a payment waits until the first has committed, and then sees it."""
    await stored.register_order(pool, "order-1")
    ids = [await _record(pool), await _record(pool, claimed_status=None)]
    async with pool.acquire() as holder, holder.transaction():
        first = await looks.claim(holder, ids[:1], TIMES, allow_test_channel=False)
        claiming = asyncio.create_task(_claim(pool, ids[1]))
        await until(lambda: stored.waits_for_a_lock(pool))
    assert [notice.id for notice in first.to_look] == ids[:1]
    assert [notice_id for notice_id, _ in (await claiming).too_soon] == ids[1:]


async def test_a_write_is_everything_at_once(pool: Pool) -> None:
    """A write stores the payment with a later ticket, the order's version and event, and the notice's end."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _record(pool))
    await _write(pool, claimed)
    row = await stored.payment(pool, "imp_1")
    assert row is not None
    assert row["written_ticket"] > claimed.ticket
    assert (row["status"], row["amount"], row["lesser_ticket"]) == ("paid", 64900, None)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    [notice] = await stored.notices(pool, "imp_1")
    assert (notice["last_outcome"], notice["due_at"], notice["claimed_until"]) == ("looked", None, None)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET version = 2, amount = 100",
        "DELETE FROM orders",
        "INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,"
        " cancellations, live, details, written_ticket)"
        " VALUES ('imp_2', 'order-1', 'default', '', 'failed', 64900, 'KRW', 0, 0, true, '{}', 1)",
        "INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,"
        " cancellations, live, details, written_ticket)"
        " VALUES ('imp_1', 'order-2', 'default', '', 'ready', 64900, 'KRW', 0, 0, true, '{}', 1)",
    ],
)
async def test_what_was_read_without_a_lock_is_compared_under_it(pool: Pool, change: str) -> None:
    """If the order has changed, or a payment was stored since the claim, nothing is written."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _record(pool))
    await pool.execute(change)
    payments = await stored.count(pool, "payments")
    with pytest.raises(asyncpg.SerializationError):
        await _write(pool, claimed)
    assert await stored.count(pool, "payments") == payments
    assert await stored.events(pool, "order-1") == [(1, "pending")]
    [notice] = await stored.notices(pool, "imp_1")
    assert notice["handled_at"] is None


async def test_so_is_an_order_that_was_not_to_change(pool: Pool) -> None:
    """Even a payment that changes no order is written only if the order's terms are still those that were read."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _record(pool))
    await pool.execute("UPDATE orders SET version = 2, amount = 100")
    window = StoredLook(WINDOW, THIS_WRITE)
    async with pool.acquire() as db:
        with pytest.raises(asyncpg.SerializationError):
            await looks.write_if_unchanged(db, list(claimed.fresh.values()), Judgement([window]), TIMES)
    assert await stored.count(pool, "payments") == 0


@pytest.mark.parametrize(
    "change",
    ["arrivals = arrivals + 1", "parked_at = now(), due_at = NULL, claimed_until = NULL, last_outcome = 'regressed'"],
)
async def test_a_write_ends_only_what_it_claimed(pool: Pool, change: str) -> None:
    """A row that another notice joined stays due, and an ended row keeps its end, but the look still counts."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _record(pool))
    await pool.execute(f"UPDATE notices SET {change}")  # noqa: S608 - from this test
    before = await stored.notices(pool, "imp_1")
    await _write(pool, claimed)
    assert await stored.notices(pool, "imp_1") == before
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_a_write_waits_for_whoever_holds_the_order(pool: Pool) -> None:
    """A write waits for the order's lock, and then sees what its holder has committed."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _record(pool))
    async with pool.acquire() as holder, holder.transaction():
        await orders.lock(holder, ["order-1"])
        writing = asyncio.create_task(_write(pool, claimed))
        await until(lambda: stored.waits_for_a_lock(pool))
        other = StoredLook(replace(WINDOW, imp_uid="imp_2", status=Status.FAILED), THIS_WRITE)
        await looks.write(holder, ["order-1"], Judgement([other]), TIMES)
    with pytest.raises(asyncpg.SerializationError):
        await writing
    assert await stored.payment(pool, "imp_1") is None


async def test_a_lesser_answer_keeps_the_tickets_it_had(pool: Pool) -> None:
    """A write gives its ticket only to what it writes, and a stored answer beside it keeps its own."""
    now = datetime.now(UTC)
    lesser = Lesser(WINDOW, now, THIS_WRITE)
    await _store(pool, StoredLook(PAYMENT, 7, lesser))
    row = await stored.payment(pool, "imp_1")
    assert row is not None
    assert (row["written_ticket"], row["lesser_seen_at"]) == (7, now)
    assert row["lesser_ticket"] > 0
    await _store(pool, StoredLook(PAYMENT, THIS_WRITE, replace(lesser, written_ticket=row["lesser_ticket"])))
    again = await stored.payment(pool, "imp_1")
    assert again is not None
    assert again["written_ticket"] > row["lesser_ticket"] == again["lesser_ticket"]


@pytest.mark.parametrize("fate", [Handled(Outcome.LOOKED), Parked(Outcome.ORDER_NOT_REGISTERED)])
async def test_an_end_is_an_end(pool: Pool, fate: Handled | Parked) -> None:
    """A handled or parked notice is never both, is not due, and is not claimed."""
    await stored.register_order(pool, "order-1")
    notice_id = await _record(pool)
    await _write(pool, await _claim(pool, notice_id), fate)
    [row] = await stored.notices(pool, "imp_1")
    assert (row["due_at"], row["claimed_until"], row["last_outcome"]) == (None, None, fate.outcome.value)
    assert (row["parked_at"] is not None) == (row["handled_at"] is None) == isinstance(fate, Parked)
    assert await _ids(pool, notice_id) == []


@pytest.mark.parametrize("wait", [timedelta(seconds=1), timedelta(minutes=1)])
async def test_a_postponed_notice_is_due_after_its_wait(pool: Pool, wait: timedelta) -> None:
    """A postponed notice is due after its wait, or a little later if it is queued at once."""
    await stored.register_order(pool, "order-1")
    await _write(pool, await _claim(pool, await _record(pool)), Postponed(Outcome.PORTONE_UNAVAILABLE, wait))
    queued = TIMES.queued if wait <= looks.QUEUED_UP_TO else timedelta()
    due_in = await pool.fetchval("SELECT due_at - now() FROM notices")
    assert wait + queued - timedelta(seconds=1) < due_in <= wait + queued
    [row] = await stored.notices(pool, "imp_1")
    assert (row["claimed_until"], row["last_outcome"]) == (None, "portone_unavailable")


async def test_invented_payments_of_one_order_give_way(pool: Pool) -> None:
    """Eight retried notices of an order stay live; others, but none of another order or of the ledger's, give way."""
    for name in ("order-1", "order-2"):
        await stored.register_order(pool, name)
    invented = [await _record(pool, f"imp_invented_{number}") for number in range(20)]
    genuine = await _record(pool, "imp_genuine", "order-2")
    found = Notice(new_notice_id(), Source.RECONCILE, "imp_found", "order-1", "", account="default")
    await in_statement(pool, notices.record_differences, [found])
    for _ in range(2):
        await pool.execute("UPDATE notices SET claimed_until = NULL")
        await _forget_looks(pool)
        claim = await _claim(pool, *invented, genuine, found.id)
        unknown = Postponed(Outcome.PAYMENT_UNKNOWN, timedelta(minutes=1))
        async with pool.acquire() as db:
            await looks.write(db, [], Judgement(fates=[(notice, unknown) for notice in claim.to_look]), TIMES)
    lanes = await pool.fetch(
        "SELECT merchant_uid, source, lane, count(*) FROM notices GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    assert [tuple(row) for row in lanes] == [
        ("order-1", "reconcile", 1, 1),
        ("order-1", "webhook", 0, 8),
        ("order-1", "webhook", 2, 12),
        ("order-2", "webhook", 0, 1),
    ]
    await pool.execute("UPDATE notices SET claimed_until = NULL")
    await _forget_looks(pool)
    assert sum(notice.gives_way for notice in (await _claim(pool, *invented, genuine)).to_look) == 12
