"""An order whose time is over is closed within a minute, once PortOne was asked about it (docs/portone.md §4.22)."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.db.pool import Pool
from service.domain.order import Closed, Order, Settlement, State, VersionedOrder
from service.domain.payment import Payment, Status, Store
from service.domain.terms import is_over
from service.errors import NotAsked
from tests.running import RunningService
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from workers.parts import Parts

STORE = Store("default")
ORDER = Order("order-1", 64900, "KRW", STORE)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _account(due_at: datetime | None, **changes: Any) -> Payment:
    details = (("vbank_date", int(due_at.timestamp())),) if due_at else ()
    return Payment("imp_1", "order-1", STORE, Status.ISSUED, 64900, "KRW", details=details, **changes)


@pytest.mark.parametrize(
    ("state", "expires_at", "payments", "over"),
    [
        (State.PENDING, NOW, [], True),
        (State.PENDING, NOW + HOUR, [], False),
        (State.FAILED, NOW - DAY, [], True),
        (State.PAID, NOW - DAY, [], False),
        (State.MISMATCHED, NOW - DAY, [], False),
        # An account takes deposits until its due date and the grace, whatever the order's own time.
        (State.AWAITING_DEPOSIT, NOW - DAY, [_account(NOW + HOUR)], False),
        (State.AWAITING_DEPOSIT, NOW - DAY, [_account(NOW - HOUR)], False),
        (State.AWAITING_DEPOSIT, NOW - DAY, [_account(NOW - DAY)], True),
        (State.AWAITING_DEPOSIT, NOW + HOUR, [_account(NOW - DAY)], False),
        # Any of several accounts, also one of another amount.
        (State.PENDING, NOW - DAY, [_account(NOW - DAY), _account(NOW)], False),
        # An account without a due date ends with the order.
        (State.AWAITING_DEPOSIT, NOW - HOUR, [_account(None)], False),
        (State.AWAITING_DEPOSIT, NOW - DAY, [_account(None)], True),
        # Money that is held keeps it open, whatever the state that is stored.
        (State.PENDING, NOW - DAY, [Payment("imp_1", "order-1", STORE, Status.PAID, 64900, "KRW")], False),
        # So does a payment that cannot be read, because it may hold money.
        (State.PENDING, NOW - DAY, [replace(_account(NOW), status=Status.READY, unreadable=True)], False),
        # No money can come by a test account.
        (State.PENDING, NOW - HOUR, [_account(NOW + DAY, live=False)], True),
    ],
)
def test_when_an_order_is_over(state: State, expires_at: datetime, payments: list[Payment], over: bool) -> None:
    """The rule as a table, with a grace of a day."""
    order = VersionedOrder(ORDER, Settlement(state), 1)
    assert is_over(order, expires_at, payments, NOW, DAY) is over


def test_what_is_closed_is_not_closed_again() -> None:
    """A withdrawn order does not expire."""
    withdrawn = Order("order-1", 64900, "KRW", STORE, closed=Closed.WITHDRAWN)
    assert not is_over(VersionedOrder(withdrawn, Settlement(), 1), NOW, [], NOW, DAY)


async def _end(pool: Pool, merchant_uid: str = "order-1") -> None:
    """Let the order's time be over, as its timetable sees it."""
    await pool.execute(
        "UPDATE orders SET expires_at = now() - interval '1 second' WHERE merchant_uid = $1", merchant_uid
    )
    await pool.execute("UPDATE order_checks SET next_check_at = now() WHERE merchant_uid = $1", merchant_uid)


async def test_an_order_expires_within_a_minute(service: RunningService, pool: Pool) -> None:
    """An order that is registered for a moment is closed by itself, with one event, and is not asked about again."""
    await service.register("order-1", expires_at=(datetime.now(UTC) + timedelta(seconds=5)).isoformat())
    await service.becomes("order-1", closed="expired", state="pending", version=2)
    row = await stored.order(pool, "order-1")
    assert await stored.next_check_at(pool, "order-1") is None
    assert row["updated_at"] - row["expires_at"] < timedelta(minutes=1)
    assert await pool.fetchval("SELECT cause FROM order_events WHERE version = 2") == "expiry"


async def test_an_order_is_asked_about_at_its_end(pool: Pool, parts: Parts) -> None:
    """The next question is never later than the end, when registered, when amended and when asked about before."""
    soon = datetime.now(UTC) + timedelta(seconds=50)
    await stored.register_order(pool, "order-1", expires_at=soon)
    assert await stored.next_check_at(pool, "order-1") == soon
    await pool.execute("UPDATE order_checks SET next_check_at = now()")
    await parts.reconciler.ask_about_silent_orders()
    assert await stored.next_check_at(pool, "order-1") == soon


async def test_money_that_no_notice_told_keeps_an_order_from_expiring(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """An order whose payment nobody announced is found paid at its end, not expired."""
    await sandbox.faults(webhook_drop=True)
    await service.register("order-1")
    await sandbox.pay("order-1", 64900)
    await _end(pool)
    order = await service.becomes("order-1", state="paid")
    assert (order["closed"], order["version"]) == (None, 2)


async def test_without_portone_nothing_expires(
    receiver: RunningService, sandbox: RunningSandbox, pool: Pool, parts: Parts
) -> None:
    """An order stays open while PortOne cannot be asked about it, is asked about again, and then expires."""
    await receiver.register("order-1")
    await _end(pool)
    await sandbox.faults(api_answer="503")
    with pytest.raises(NotAsked):
        await parts.reconciler.ask_about_silent_orders()
    row = await stored.order(pool, "order-1")
    assert row["closed"] is None
    assert await stored.next_check_at(pool, "order-1") is not None
    await sandbox.faults()
    await _end(pool)
    await parts.reconciler.ask_about_silent_orders()
    assert (await stored.order(pool, "order-1"))["closed"] == "expired"


async def test_news_at_the_end_are_looked_at_first(
    receiver: RunningService, sandbox: RunningSandbox, pool: Pool, parts: Parts
) -> None:
    """An order of which PortOne lists something new stays open for a look, and is asked about again soon."""
    await receiver.register("order-1")
    await receiver.register("order-2")
    await sandbox.open("order-1", 64900)
    await _end(pool)
    await _end(pool, "order-2")
    await parts.reconciler.ask_about_silent_orders()
    row = await stored.order(pool, "order-1")
    assert row["closed"] is None
    next_check_at = await stored.next_check_at(pool, "order-1")
    assert next_check_at is not None
    assert next_check_at - datetime.now(UTC) < timedelta(seconds=30)
    assert (await stored.order(pool, "order-2"))["closed"] == "expired"


async def test_an_order_with_an_account_expires_after_its_grace(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """An account keeps its order open a day beyond its due date; afterwards the order expires."""
    for name, days in (("order-1", 3), ("order-2", 0)):
        await service.register(name)
        imp_uid = (await sandbox.open(name, 64900, pay_method="vbank"))["imp_uid"]
        await sandbox.move(imp_uid, "issue", vbank_date=int(time.time()) - days * 24 * 3600)
        await service.becomes(name, state="awaiting_deposit")
        await _end(pool, name)
    await service.becomes("order-1", state="awaiting_deposit", closed="expired")
    waiting = await stored.order(pool, "order-2")
    assert waiting["closed"] is None
    assert await stored.next_check_at(pool, "order-2") is not None
