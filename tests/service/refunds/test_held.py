"""Nothing is sent while money is held for a person, or a refund is not due."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.db import refunds
from service.db.refunds import Origin
from service.domain.order import ProblemKind
from service.domain.refund import Action, Hold, Policy
from service.portone.client import PortOne
from service.usecases.refunds import Refunder
from service.usecases.resolving import resolve
from service.usecases.verification import Verifier
from tests.running import until
from tests.service.refunding import TIMES, Shop, due, make_refunder, refund_counts


async def test_nothing_is_sent_before_its_time(shop: Shop, refunder: Refunder) -> None:
    """A refund waits until its problem is 10 minutes old."""
    _, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age(timedelta(minutes=9, seconds=59))
    assert await refunder.refund_due() == 0
    await shop.pool.execute("UPDATE refunds SET due_at = now()")  # the row has its own guard beside the timetable's
    assert await refunder.refund_due() == 0
    assert (await shop.refund(duplicate))["state"] == "intended"
    assert await shop.cancel_calls() == 0


async def test_leaving_it_as_it_is_withdraws_a_refund_that_was_not_sent(shop: Shop, refunder: Refunder) -> None:
    """A person who leaves the money where it is has the last word, also about a refund that another wanted."""
    _, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_by_person(duplicate, "kim", "charged twice")
    assert len(await resolve(shop.pool, duplicate, "lee", "the buyer wants both")) == 1
    await shop.let_the_finding_age()
    assert await refunder.refund_due() == 0
    assert (await shop.refund(duplicate))["state"] == "withdrawn"
    assert await shop.cancel_calls() == 0


async def test_hold_is_the_default(shop: Shop, verifier: Verifier, portone: PortOne) -> None:
    """Without a policy no refund is recorded."""
    await shop.paid_twice("order-1")
    await shop.paid_wrongly("order-2")
    assert await make_refunder(verifier, portone, policy=Policy()).intents.intend_due() == 0
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_each_policy_is_its_own(shop: Shop, verifier: Verifier, portone: PortOne) -> None:
    """ON_MISMATCH refunds no duplicates, which are left to a person."""
    _, duplicate = await shop.paid_twice("order-1")
    wrong = await shop.paid_wrongly("order-2")
    refunder = make_refunder(verifier, portone, policy=Policy(on_mismatch=Action.REFUND))
    assert await refunder.intents.intend_due() == 1
    assert (await shop.refund(wrong))["kinds"] == ["wrong_amount"]
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds WHERE imp_uid = $1", duplicate) == 0


@pytest.mark.parametrize(
    "terms", [{"sandbox": True}, {"pay_method": "vbank"}, {"fields": {"pay_method": None}}], ids=str
)
async def test_what_is_never_refunded_is_held(shop: Shop, refunder: Refunder, terms: dict[str, Any]) -> None:
    """A test payment, a virtual account or an unknown method is never refunded, whatever the policy."""
    await shop.paid_wrongly("order-1", **terms)
    assert await refunder.intents.intend_due() == 0
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_money_of_an_unknown_order_is_held(shop: Shop, refunder: Refunder) -> None:
    """A payment of an unregistered order is not refunded."""
    payment = (await shop.sandbox.pay("order-9", 100))["imp_uid"]
    await shop.announce("order-9", payment)
    assert await refunder.intents.intend_due() == 0
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_a_finding_that_ended_is_withdrawn(shop: Shop, refunder: Refunder) -> None:
    """If the console has refunded the first payment, the refund of the second is withdrawn, and it pays the order."""
    first, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await shop.sandbox.move(first, "cancel")
    assert await refunder.refund_due() == 0
    assert await shop.moves(duplicate) == ["intended", "withdrawn"]
    assert await refund_counts(shop, [duplicate]) == [0]
    order = await shop.pool.fetchrow("SELECT state, imp_uid FROM orders")
    assert order is not None
    assert tuple(order) == ("paid", duplicate)


async def test_a_finding_that_returns_begins_anew(shop: Shop, refunder: Refunder) -> None:
    """A withdrawn refund may be intended again, and waits 10 minutes again."""
    wrong = await shop.paid_wrongly("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await shop.pool.execute("UPDATE refunds SET kinds = '{wrong_store}'")  # another problem was found before
    await refunder.refund_due()
    assert await refunder.intents.intend_due() == 1
    refund = await shop.refund(wrong)
    assert (refund["round"], refund["state"]) == (2, "intended")
    assert await shop.moves(wrong) == ["intended", "withdrawn", "intended"]


async def test_without_a_fresh_look_nothing_is_sent(shop: Shop, refunder: Refunder) -> None:
    """If PortOne cannot be asked about the payments, the refund waits and says why."""
    duplicate = await due(shop, refunder)
    await shop.sandbox.faults(api_answer="500", api_path="/payments")
    assert await refunder.refund_due() == 0
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["hold_reason"]) == ("intended", Hold.NOT_FRESH.value)
    await shop.sandbox.faults()
    assert await refunder.refund_due() == 1


async def test_a_regressed_payment_is_withdrawn(shop: Shop, verifier: Verifier, portone: PortOne) -> None:
    """If PortOne shows less of the payment than before, nothing is sent."""
    refunder = make_refunder(verifier, portone, times=replace(TIMES, regression=timedelta(seconds=60)))
    duplicate = await due(shop, refunder)
    await shop.sandbox.move(duplicate, "set", fields={"status": "ready", "paid_at": 0})
    await refunder.refund_due()
    assert await shop.cancel_calls() == 0
    assert (await shop.refund(duplicate))["state"] == "intended"
    await shop.sandbox.move(duplicate, "set", fields={"status": "paid"})


async def test_a_resolved_problem_is_left_alone(shop: Shop, refunder: Refunder) -> None:
    """The refund of a problem that a person has resolved is withdrawn."""
    duplicate = await due(shop, refunder)
    await shop.pool.execute(
        "INSERT INTO resolutions (merchant_uid, imp_uid, kind, who, why) VALUES ($1, $2, $3, 'kim', 'both are meant')",
        "order-1", duplicate, "duplicate_payment",
    )  # fmt: skip
    assert await refunder.refund_due() == 0
    assert (await shop.refund(duplicate))["state"] == "withdrawn"
    assert await refunder.intents.intend_due() == 0


async def test_no_more_than_so_many_an_hour_by_all_workers(
    shop: Shop, refunder: Refunder, verifier: Verifier, portone: PortOne, other_refunder: Refunder
) -> None:
    """Of seven due refunds, two workers send five, and hold the others until the hour is over."""
    duplicates = [(await shop.paid_twice(f"order-{number}"))[1] for number in range(7)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    for _ in range(3):
        await asyncio.gather(refunder.refund_due(), other_refunder.refund_due())
    assert await shop.cancel_calls() == 5
    rows = await shop.pool.fetch("SELECT state, hold_reason FROM refunds ORDER BY state, hold_reason")
    assert [tuple(row) for row in rows] == [("intended", Hold.HOURLY_CAP.value)] * 2 + [("refunded", None)] * 5
    await shop.pool.execute("UPDATE refund_moves SET at = at - interval '1 hour'")
    await refunder.refund_due()
    assert await refund_counts(shop, duplicates) == [1] * 7


async def test_the_hours_last_refund_is_sent_by_one_worker(
    shop: Shop, verifier: Verifier, portone: PortOne, other_refunder: Refunder
) -> None:
    """With one refund left in the hour, two workers count one after the other, and one of them sends it."""
    for number in range(2):
        await shop.paid_twice(f"order-{number}")
    refunder = make_refunder(verifier, portone, max_per_hour=1)
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    workers = [refunder, replace(other_refunder, max_per_hour=1)]
    async with shop.pool.acquire() as connection, connection.transaction():
        await refunds.lock_hourly_cap(connection)
        runs = [asyncio.create_task(worker.refund_due()) for worker in workers]

        async def both_wait() -> bool:
            return bool(
                await connection.fetchval(
                    "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                )
            )

        await until(both_wait)
    await asyncio.gather(*runs)
    assert await shop.cancel_calls() == 1


async def test_what_was_asked_is_not_intended_again(shop: Shop, refunder: Refunder) -> None:
    """A late intent, automatic or by a person, does not change a refund that was sent."""
    duplicate = await due(shop, refunder)
    await shop.sandbox.faults(api_answer="reset", api_path="/payments/cancel")
    await refunder.refund_due()
    kinds, now = (ProblemKind.DUPLICATE_PAYMENT,), datetime.now(UTC)
    for origin in (Origin("portone-orders", "late"), Origin("kim", "late", by_person=True)):
        async with shop.pool.acquire() as connection, connection.transaction():
            assert not await refunds.intend(connection, duplicate, "order-1", kinds, now, origin, timedelta())
    assert await shop.moves(duplicate) == ["intended", "asked"]
