"""A claim and a write, a trip each, where nothing is to be decided on the way (docs/decisions/0015-one-trip.md)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from service.db import looks, notices, orders
from service.db.looks import Fresh, Meaning
from service.db.payments import THIS_WRITE
from service.db.pool import Connection, Pool, in_statement, in_transaction
from service.domain.notice import Notice, Outcome, Source
from service.domain.order import Order, Settlement, State
from service.domain.payment import Payment, Status, Store
from service.domain.staleness import Lesser, StoredLook
from service.notice_ids import new_notice_id
from tests.running import until
from tests.service import stored

LEASE = timedelta(seconds=8)
PAYMENT = Payment("imp_1", "order-1", stored.DEFAULT, Status.PAID, 64900, "KRW", paid_at=datetime.now(UTC))
PAID = Settlement(State.PAID, 64900, 0, "imp_1")


async def _said(
    pool: Pool,
    imp_uid: str = "imp_1",
    merchant_uid: str = "order-1",
    store: tuple[str | None, str | None] = (None, None),
) -> UUID:
    account, tier = store
    notice = Notice(new_notice_id(), Source.WEBHOOK, imp_uid, merchant_uid, tier, "paid", account=account)
    [row] = await in_statement(pool, lambda db: notices.record(db, [notice], LEASE))
    return row


async def _claim(pool: Pool, *ids: UUID) -> Fresh:
    return await in_statement(pool, lambda db: looks.claim_fresh(db, ids, LEASE, allow_test_channel=False))


async def _store(pool: Pool, *news: StoredLook) -> None:
    """Store payments as a worker does that decides under the locks."""

    async def work(db: Connection) -> None:
        names = [look.payment.merchant_uid for look in news]
        await orders.lock(db, names)
        await looks.write(db, names, Meaning(news))

    await in_transaction(pool, work)


async def _write(pool: Pool, claimed: Fresh) -> None:
    meaning = Meaning(
        [StoredLook(PAYMENT, THIS_WRITE)],
        [(order, PAID) for order in claimed.orders.values()],
        [(notice, Outcome.LOOKED) for notice in claimed.notices],
    )
    async with pool.acquire() as db:
        await looks.write_if_unchanged(db, list(claimed.orders.values()), meaning)


async def test_a_claim_says_where_to_look_and_what_the_order_was(pool: Pool) -> None:
    """Both notices of a payment are claimed for one look, once, with the order's terms and version."""
    store = Store("shop-b", "abc")
    await stored.register_order(pool, "order-1", 600, "USD", store=store)
    said = [await _said(pool), await _said(pool)]
    claimed = await _claim(pool, *said, new_notice_id())
    assert [(n.id, n.account, n.tier, n.tries, n.registered) for n in claimed.notices] == [
        (notice_id, "shop-b", "abc", 0, True) for notice_id in said
    ]
    [(name, order)] = claimed.orders.items()
    assert (name, order.terms, order.version) == ("order-1", Order("order-1", 600, "USD", store), 1)
    assert claimed.ticket > 0
    rows = await stored.notices(pool, "imp_1")
    assert [(row["tries"], row["claimed_until"] > row["looked_at"]) for row in rows] == [(1, True)] * 2
    assert await _claim(pool, *said) == Fresh()


@pytest.mark.parametrize(
    ("named", "fresh"),
    [
        ((None, None), True),
        (("default", "abc"), True),
        ((None, "abc"), True),
        (("default", None), True),
        ((None, "xyz"), False),
        (("shop-b", None), False),
        (("shop-b", "abc"), False),
    ],
)
async def test_a_notice_that_names_another_store_is_for_a_decision(
    pool: Pool, named: tuple[str | None, str | None], fresh: bool
) -> None:
    """Where it is to be looked at is not where its order is registered."""
    await stored.register_order(pool, "order-1", store=Store("default", "abc"))
    claimed = await _claim(pool, await _said(pool, store=named))
    assert [(n.account, n.tier) for n in claimed.notices] == [("default", "abc")] * fresh


@pytest.mark.parametrize(
    "happened",
    [
        "UPDATE notices SET looked_at = now()",
        "UPDATE notices SET handled_at = now(), due_at = NULL",
        "UPDATE notices SET parked_at = now(), due_at = NULL, last_outcome = 'looked'",
        "UPDATE orders SET state = 'failed'",
        "UPDATE orders SET imp_uid = 'imp_2'",
        "DELETE FROM orders",
    ],
)
async def test_what_is_not_fresh_is_left_alone(pool: Pool, happened: str) -> None:
    """A notice that ended, a payment that was looked at, an order that has moved or is not there."""
    await stored.register_order(pool, "order-1")
    said = await _said(pool)
    await pool.execute(happened)
    before = await stored.notices(pool, "imp_1")
    assert await _claim(pool, said) == Fresh()
    assert await stored.notices(pool, "imp_1") == before


@pytest.mark.parametrize(("imp_uid", "merchant_uid"), [("imp_1", "order-2"), ("imp_2", "order-1")])
async def test_nor_is_what_something_is_stored_of(pool: Pool, imp_uid: str, merchant_uid: str) -> None:
    """The payment itself, or another of its order: then there is something to compare with."""
    await stored.register_order(pool, "order-1")
    said = await _said(pool)
    await _store(pool, StoredLook(replace(PAYMENT, imp_uid=imp_uid, merchant_uid=merchant_uid), THIS_WRITE))
    assert await _claim(pool, said) == Fresh()


async def test_what_is_settled_is_asked_about_no_more(pool: Pool) -> None:
    """Not even once; what is open again is asked about at the next turn."""
    await stored.register_order(pool, "order-1")
    await _write(pool, await _claim(pool, await _said(pool)))
    assert await pool.fetchval("SELECT next_check_at FROM orders") is None

    async def reopen(db: Connection) -> None:
        await orders.lock(db, ["order-1"])
        [order] = await orders.settled(db, ["order-1"], allow_test_channel=False)
        await looks.write(db, ["order-1"], Meaning(changes=[(order, Settlement())]))

    await in_transaction(pool, reopen)
    assert await pool.fetchval("SELECT next_check_at <= now() FROM orders")


async def test_a_payment_has_one_claim_at_a_time(pool: Pool) -> None:
    """Whoever claims another notice of the payment waits for the first to commit, and then sees it."""
    await stored.register_order(pool, "order-1")
    said = [await _said(pool), await _said(pool)]
    async with pool.acquire() as holder, holder.transaction():
        first = await looks.claim_fresh(holder, said[:1], LEASE, allow_test_channel=False)
        claiming = asyncio.create_task(_claim(pool, said[1]))
        await until(lambda: _waits(pool))
    assert ([notice.id for notice in first.notices], await claiming) == (said[:1], Fresh())


async def test_a_write_is_everything_at_once(pool: Pool) -> None:
    """The payment with a ticket later than the look's, the order's version and event, and the notice's end."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _said(pool))
    await _write(pool, claimed)
    row = await stored.payment(pool, "imp_1")
    assert row is not None
    assert row["written_ticket"] > claimed.ticket
    assert (row["status"], row["amount"], row["lesser_ticket"]) == ("paid", 64900, None)
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    [notice] = await stored.notices(pool, "imp_1")
    assert (notice["last_outcome"], notice["due_at"], notice["claimed_until"]) == ("looked", None, None)


@pytest.mark.parametrize(
    "happened",
    [
        "UPDATE orders SET version = 2, amount = 100",
        "DELETE FROM orders",
        "INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,"
        " cancellations, live, details, written_ticket)"
        " VALUES ('imp_2', 'order-1', 'default', '', 'ready', 64900, 'KRW', 0, 0, true, '{}', 1)",
        "INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,"
        " cancellations, live, details, written_ticket)"
        " VALUES ('imp_1', 'order-2', 'default', '', 'ready', 64900, 'KRW', 0, 0, true, '{}', 1)",
    ],
)
async def test_what_was_read_without_a_lock_is_compared_under_it(pool: Pool, happened: str) -> None:
    """Where the order has moved, or a payment was stored meanwhile, nothing at all is written."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _said(pool))
    await pool.execute(happened)
    payments = await stored.count(pool, "payments")
    with pytest.raises(asyncpg.SerializationError):
        await _write(pool, claimed)
    assert await stored.count(pool, "payments") == payments
    assert await stored.events(pool, "order-1") == [(1, "pending")]
    [notice] = await stored.notices(pool, "imp_1")
    assert notice["handled_at"] is None


async def test_so_is_an_order_that_was_not_to_change(pool: Pool) -> None:
    """A window that was only opened changes nothing of the terms that were read; of other terms it may."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _said(pool))
    await pool.execute("UPDATE orders SET version = 2, amount = 100")
    window = StoredLook(replace(PAYMENT, status=Status.READY, paid_at=None), THIS_WRITE)
    async with pool.acquire() as db:
        with pytest.raises(asyncpg.SerializationError):
            await looks.write_if_unchanged(db, list(claimed.orders.values()), Meaning([window]))
    assert await stored.count(pool, "payments") == 0


@pytest.mark.parametrize(
    "happened",
    ["arrivals = arrivals + 1", "parked_at = now(), due_at = NULL, claimed_until = NULL, last_outcome = 'regressed'"],
)
async def test_a_write_ends_only_what_it_claimed(pool: Pool, happened: str) -> None:
    """A row that was spoken for again since stays due, and one that has ended keeps its end; the look still counts."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _said(pool))
    await pool.execute(f"UPDATE notices SET {happened}")  # noqa: S608 - the test's own
    before = await stored.notices(pool, "imp_1")
    await _write(pool, claimed)
    assert await stored.notices(pool, "imp_1") == before
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_a_write_waits_for_whoever_holds_the_order(pool: Pool) -> None:
    """What that one commits is seen, though it was not there when the write began."""
    await stored.register_order(pool, "order-1")
    claimed = await _claim(pool, await _said(pool))
    async with pool.acquire() as holder, holder.transaction():
        await orders.lock(holder, ["order-1"])
        writing = asyncio.create_task(_write(pool, claimed))
        await until(lambda: _waits(pool))
        other = StoredLook(replace(PAYMENT, imp_uid="imp_2", status=Status.READY, paid_at=None), THIS_WRITE)
        await looks.write(holder, ["order-1"], Meaning([other]))
    with pytest.raises(asyncpg.SerializationError):
        await writing
    assert await stored.payment(pool, "imp_1") is None


async def _waits(pool: Pool) -> bool:
    found: bool = await pool.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    return found


async def test_a_lesser_answer_keeps_the_tickets_it_had(pool: Pool) -> None:
    """Only what this write writes gets its ticket: the stored answer keeps its own beside a new lesser one."""
    now = datetime.now(UTC)
    lesser = Lesser(replace(PAYMENT, status=Status.READY, paid_at=None), now, THIS_WRITE)
    await _store(pool, StoredLook(PAYMENT, 7, lesser))
    row = await stored.payment(pool, "imp_1")
    assert row is not None
    assert (row["written_ticket"], row["lesser_seen_at"]) == (7, now)
    assert row["lesser_ticket"] > 0
    await _store(pool, StoredLook(PAYMENT, THIS_WRITE, replace(lesser, written_ticket=row["lesser_ticket"])))
    again = await stored.payment(pool, "imp_1")
    assert again is not None
    assert again["written_ticket"] > row["lesser_ticket"] == again["lesser_ticket"]
