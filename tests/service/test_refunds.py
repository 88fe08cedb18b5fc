"""Money that should not be there goes back once, or stays for a person: on real stores and the sandbox."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from sandbox.errors import Refused
from sandbox.ledger import Ledger
from sandbox.payment import Payment
from sandbox.refunds import Refund
from sandbox.world import WORLD
from service.db import refunds
from service.db.pool import Pool, open_pool
from service.db.refunds import Said
from service.domain.order import ProblemKind
from service.domain.refund import Action, Hold, Policy
from service.portone.client import PortOne
from service.refunds import Refunder
from service.settings import Settings
from service.verification import Verifier
from tests.conftest import Stores
from tests.running import until
from tests.sandbox_client import RunningSandbox
from tests.service.refunding import TIMES, Shop, given_back, make_refunder
from workers.refunds import REFUNDER, close_refunds, intend_refunds, send_refunds
from workers.tasks import Parts


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"calls_per_second": 100_000.0})


@pytest.fixture
def verifier(parts: Parts) -> Verifier:
    return replace(parts.verifier, times=TIMES)


@pytest.fixture
def shop(pool: Pool, sandbox: RunningSandbox, verifier: Verifier) -> Shop:
    return Shop(pool, sandbox, verifier)


@pytest.fixture
async def portone(settings: Settings) -> AsyncIterator[PortOne]:
    client = PortOne(settings.portone_api_url, settings.portone_imp_key, settings.portone_imp_secret.get_secret_value())
    yield client
    await client.close()


@pytest.fixture
def refunder(verifier: Verifier, portone: PortOne) -> Refunder:
    return make_refunder(verifier, portone)


@pytest.fixture
async def other(verifier: Verifier, portone: PortOne, database_url: str) -> AsyncIterator[Refunder]:
    """Another worker's, with a pool of its own."""
    pool = await open_pool(database_url)
    yield make_refunder(replace(verifier, pool=pool), portone)
    await pool.close()


@pytest.fixture
def ledger(sandbox: RunningSandbox) -> Ledger:
    """PortOne's own memory."""
    return sandbox.app[WORLD].ledger


def _refuse(payment: Payment, refund: Refund) -> None:
    raise Refused("은행 점검 시간입니다.")


async def _due(shop: Shop, refunder: Refunder, merchant_uid: str = "order-1", **terms: bool) -> str:
    """A duplicate payment whose refund is due."""
    _, duplicate = await shop.paid_twice(merchant_uid, **terms)
    assert await refunder.intents.intend_due() == 1
    await shop.let_the_finding_age()
    return duplicate


# The whole way


async def test_a_duplicate_goes_back_and_the_order_stays_paid(shop: Shop, refunder: Refunder) -> None:
    """The second payment is refunded whole by one call; the first, which pays the order, is not touched."""
    kept, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    assert await refunder.refund_due() == 1
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["answer"], refund["amount"], refund["who"], refund["why"]) == (
        "refunded", "done", 64900, "portone-orders", "duplicate_payment",
    )  # fmt: skip
    assert await shop.moves(duplicate) == ["intended", "asked", "refunded"]
    assert await given_back(shop, [kept, duplicate]) == [0, 1]
    order = await shop.pool.fetchrow("SELECT state, problems FROM orders")
    assert order is not None
    assert (order["state"], order["problems"]) == ("paid", [])


async def test_what_remains_goes_back_exactly(shop: Shop, refunder: Refunder) -> None:
    """USD 6.10 of which 0.10 has gone back already: 6.00 is asked for, its own checksum, and nothing is left."""
    payment = await shop.paid_wrongly("order-1", amount=6.10, currency="USD")
    await shop.sandbox.move(payment, "cancel", amount=0.10)
    await shop.tell("order-1", payment)
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await refunder.refund_due()
    refund = await shop.refund(payment)
    assert (refund["state"], refund["amount"], refund["currency"]) == ("refunded", 600, "USD")
    assert refund["cancellations_before"] == 1
    assert [row["amount"] for row in (await shop.truth(payment))["cancel_history"]] == [0.1, 6.0]


async def test_a_payment_of_another_sub_store_goes_back_there(shop: Shop, refunder: Refunder) -> None:
    """`wrong_store`: the call goes under the tier where the payment was found."""
    payment = await shop.paid_wrongly("order-1", amount=64900, tier="abc")
    assert await shop.problems("order-1") == [("wrong_store", payment)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await refunder.refund_due()
    assert (await shop.refund(payment))["state"] == "refunded"


async def test_the_cron_tasks_go_the_same_way(shop: Shop, refunder: Refunder) -> None:
    """The three tasks, a turn each, end in a refund."""
    _, duplicate = await shop.paid_twice("order-1")
    ctx = {REFUNDER: refunder}
    await intend_refunds(ctx)
    await shop.let_the_finding_age()
    await send_refunds(ctx)
    await close_refunds(ctx)
    assert (await shop.refund(duplicate))["state"] == "refunded"


# When nothing is sent


async def test_nothing_is_sent_before_its_time(shop: Shop, refunder: Refunder) -> None:
    """An intent waits until the finding is 10 minutes old."""
    _, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age(timedelta(minutes=9, seconds=59))
    assert await refunder.refund_due() == 0
    await shop.pool.execute("UPDATE refunds SET due_at = now()")  # the row's own guard, not only the timetable's
    assert await refunder.refund_due() == 0
    assert (await shop.refund(duplicate))["state"] == "intended"
    assert await shop.cancel_calls() == 0


async def test_hold_is_the_default(shop: Shop, verifier: Verifier, portone: PortOne) -> None:
    """Without a policy no intent is recorded."""
    await shop.paid_twice("order-1")
    await shop.paid_wrongly("order-2")
    assert await make_refunder(verifier, portone, policy=Policy()).intents.intend_due() == 0
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_each_policy_is_its_own(shop: Shop, verifier: Verifier, portone: PortOne) -> None:
    """ON_MISMATCH alone leaves duplicates to a person."""
    _, duplicate = await shop.paid_twice("order-1")
    wrong = await shop.paid_wrongly("order-2")
    refunder = make_refunder(verifier, portone, policy=Policy(on_mismatch=Action.REFUND))
    assert await refunder.intents.intend_due() == 1
    assert (await shop.refund(wrong))["kinds"] == ["wrong_amount"]
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds WHERE imp_uid = $1", duplicate) == 0


@pytest.mark.parametrize(
    "terms", [{"sandbox": True}, {"pay_method": "vbank"}, {"fields": {"pay_method": None}}], ids=str
)
async def test_what_is_never_refunded_is_held(shop: Shop, refunder: Refunder, terms: dict[str, object]) -> None:
    """A test payment, a virtual account and an untold method get no intent, whatever the policy."""
    await shop.paid_wrongly("order-1", **terms)
    assert await refunder.intents.intend_due() == 0
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_money_of_an_unknown_order_is_held(shop: Shop, refunder: Refunder) -> None:
    """A payment whose order nobody registered gets no intent."""
    payment = (await shop.sandbox.pay("order-9", 100))["imp_uid"]
    await shop.tell("order-9", payment)
    assert await refunder.intents.intend_due() == 0
    assert await shop.pool.fetchval("SELECT count(*) FROM refunds") == 0


async def test_a_finding_that_ended_is_withdrawn(shop: Shop, refunder: Refunder) -> None:
    """The first payment was refunded in the console meanwhile: the fresh look shows it, the other now pays."""
    kept, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await shop.sandbox.move(kept, "cancel")
    assert await refunder.refund_due() == 0
    assert await shop.moves(duplicate) == ["intended", "withdrawn"]
    assert await given_back(shop, [duplicate]) == [0]
    order = await shop.pool.fetchrow("SELECT state, imp_uid FROM orders")
    assert order is not None
    assert tuple(order) == ("paid", duplicate)


async def test_a_finding_that_returns_begins_anew(shop: Shop, refunder: Refunder) -> None:
    """What was withdrawn unsent may be intended again, and waits its 10 minutes again."""
    wrong = await shop.paid_wrongly("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await shop.pool.execute("UPDATE refunds SET kinds = '{wrong_store}'")  # found otherwise before
    await refunder.refund_due()
    assert await refunder.intents.intend_due() == 1
    refund = await shop.refund(wrong)
    assert (refund["round"], refund["state"]) == (2, "intended")
    assert await shop.moves(wrong) == ["intended", "withdrawn", "intended"]


async def test_without_a_fresh_look_nothing_is_sent(shop: Shop, refunder: Refunder) -> None:
    """PortOne cannot be asked about the payments: the refund waits, and says why."""
    duplicate = await _due(shop, refunder)
    await shop.sandbox.faults(api_answer="500", api_path="/payments")
    assert await refunder.refund_due() == 0
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["held"]) == ("intended", Hold.NOT_FRESH.value)
    await shop.sandbox.faults()
    assert await refunder.refund_due() == 1


async def test_a_regressed_payment_is_withdrawn(shop: Shop, verifier: Verifier, portone: PortOne) -> None:
    """PortOne tells less of the payment than it did: nothing is sent on its word."""
    refunder = make_refunder(verifier, portone, times=replace(TIMES, regression=timedelta(seconds=60)))
    duplicate = await _due(shop, refunder)
    await shop.sandbox.move(duplicate, "set", fields={"status": "ready", "paid_at": 0})
    await refunder.refund_due()
    assert await shop.cancel_calls() == 0
    assert (await shop.refund(duplicate))["state"] == "intended"
    await shop.sandbox.move(duplicate, "set", fields={"status": "paid"})


async def test_a_resolved_problem_is_left_alone(shop: Shop, refunder: Refunder) -> None:
    """A person has resolved the problem since: the machine's intent is withdrawn."""
    duplicate = await _due(shop, refunder)
    await shop.pool.execute(
        "INSERT INTO resolutions (merchant_uid, imp_uid, kind, who, why) VALUES ($1, $2, $3, 'kim', 'both are meant')",
        "order-1", duplicate, "duplicate_payment",
    )  # fmt: skip
    assert await refunder.refund_due() == 0
    assert (await shop.refund(duplicate))["state"] == "withdrawn"
    assert await refunder.intents.intend_due() == 0


async def test_no_more_than_so_many_an_hour_by_all_workers(
    shop: Shop, refunder: Refunder, verifier: Verifier, portone: PortOne, other: Refunder
) -> None:
    """Seven are due, two workers send at once, five go; the others are held until the hour is over."""
    duplicates = [(await shop.paid_twice(f"order-{number}"))[1] for number in range(7)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    for _ in range(3):
        await asyncio.gather(refunder.refund_due(), other.refund_due())
    assert await shop.cancel_calls() == 5
    rows = await shop.pool.fetch("SELECT state, held FROM refunds ORDER BY state, held")
    assert [tuple(row) for row in rows] == [("intended", Hold.HOURLY_CAP.value)] * 2 + [("refunded", None)] * 5
    await shop.pool.execute("UPDATE refund_moves SET at = at - interval '1 hour'")
    await refunder.refund_due()
    assert await given_back(shop, duplicates) == [1] * 7


async def test_the_hours_last_refund_is_sent_by_one_worker(
    shop: Shop, verifier: Verifier, portone: PortOne, other: Refunder
) -> None:
    """Two workers come to count at the same time, with one refund left in the hour: they count one by one."""
    for number in range(2):
        await shop.paid_twice(f"order-{number}")
    refunder = make_refunder(verifier, portone, max_per_hour=1)
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    workers = [refunder, replace(other, max_per_hour=1)]
    async with shop.pool.acquire() as connection, connection.transaction():
        await refunds.lock_hourly_cap(connection)
        turns = [asyncio.create_task(worker.refund_due()) for worker in workers]

        async def both_wait() -> bool:
            return bool(await connection.fetchval("SELECT count(*) = 2 FROM pg_locks WHERE NOT granted"))

        await until(both_wait)
    await asyncio.gather(*turns)
    assert await shop.cancel_calls() == 1


async def test_what_was_asked_is_not_intended_again(shop: Shop, refunder: Refunder) -> None:
    """An intent that comes late, of the machine or of a person, changes no refund that was asked for."""
    duplicate = await _due(shop, refunder)
    await shop.sandbox.faults(api_answer="reset", api_path="/payments/cancel")
    await refunder.refund_due()
    kinds, now = (ProblemKind.DUPLICATE_PAYMENT,), datetime.now(UTC)
    for said in (Said("portone-orders", "late"), Said("kim", "late", by_person=True)):
        async with shop.pool.acquire() as connection, connection.transaction():
            assert not await refunds.intend(connection, duplicate, "order-1", kinds, now, said, timedelta())
    assert await shop.moves(duplicate) == ["intended", "asked"]


# Faults


@pytest.mark.parametrize("answer", ["hang", "reset", "500", "401", "garbage", "wrong_shape", "half_body"])
async def test_a_refund_whose_answer_is_lost_is_found_by_looking(
    shop: Shop, verifier: Verifier, portone: PortOne, answer: str
) -> None:
    """It happened, and the answer never came or cannot be read: not sent again, a later look closes it."""
    refunder = make_refunder(verifier, portone, call_seconds=0.3)
    duplicate = await _due(shop, refunder)
    await shop.sandbox.faults(api_answer=answer, api_when="after", api_path="/payments/cancel")
    assert await refunder.refund_due() == 1
    assert ((await shop.refund(duplicate))["state"], (await shop.refund(duplicate))["answer"]) == ("asked", "unknown")
    await shop.sandbox.faults()
    assert await refunder.refund_due() == 0
    assert await refunder.close_asked() == 1
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.cancel_calls() == 1
    assert await given_back(shop, [duplicate]) == [1]


async def test_a_refund_that_never_happened_is_for_a_person(shop: Shop, refunder: Refunder) -> None:
    """The call was lost before PortOne: never sent again; after an hour an open problem, also of the order."""
    duplicate = await _due(shop, refunder)
    await shop.sandbox.faults(api_answer="reset", api_when="before", api_path="/payments/cancel")
    await refunder.refund_due()
    await shop.sandbox.faults()
    assert await refunder.close_asked() == 0
    await shop.let_the_call_age()
    assert await refunder.close_asked() == 1
    assert await shop.moves(duplicate) == ["intended", "asked", "refund_unknown"]
    assert ("refund_unknown", duplicate) in await shop.problems("order-1")
    assert await refunder.intents.intend_due() == 0
    assert await refunder.refund_due() == 0
    assert await shop.cancel_calls() == 1
    # A person refunds it in the console: the next look ends the problem.
    await shop.sandbox.move(duplicate, "cancel")
    await shop.tell("order-1", duplicate)
    await refunder.close_asked()
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.problems("order-1") == []


async def test_already_cancelled_is_no_success_until_a_look_shows_it(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console was faster by a moment: HTTP 200 with code 1, and the look after it finds the money back."""
    duplicate = await _due(shop, refunder)
    cancel = ledger.cancel
    monkeypatch.setattr(ledger, "cancel", lambda payment, refund: (cancel(payment, refund), cancel(payment, refund)))
    assert await refunder.refund_due() == 1
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["answer"], refund["answer_text"]) == (
        "refunded", "refused", "이미 전액취소된 주문입니다.",
    )  # fmt: skip
    assert await given_back(shop, [duplicate]) == [1]


async def test_a_refusal_stays_refused(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PortOne says no and nothing went back: refused, and never asked again by the machine."""
    duplicate = await _due(shop, refunder)
    monkeypatch.setattr(ledger, "cancel", _refuse)
    assert await refunder.refund_due() == 1
    assert await shop.moves(duplicate) == ["intended", "asked", "refused"]
    assert await refunder.intents.intend_due() == 0
    assert await refunder.refund_due() == 0
    assert await shop.problems("order-1") == [("duplicate_payment", duplicate)]


async def test_a_refused_refund_may_come_to_pay_the_order(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console gives the first payment back after all: the second, still held, pays, and nothing is open."""
    kept, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    with monkeypatch.context() as closed:
        closed.setattr(ledger, "cancel", _refuse)
        await refunder.refund_due()
    await shop.sandbox.move(kept, "cancel")
    await shop.tell("order-1", kept)
    assert (await shop.refund(duplicate))["state"] == "refused"
    order = await shop.pool.fetchrow("SELECT state, imp_uid, problems FROM orders")
    assert order is not None
    assert tuple(order) == ("paid", duplicate, [])


async def test_a_person_may_ask_again_after_a_refusal(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definite no is the one end after which a second call may be made, in a round of its own."""
    duplicate = await _due(shop, refunder)
    with monkeypatch.context() as closed:
        closed.setattr(ledger, "cancel", _refuse)
        await refunder.refund_due()
    await refunder.intents.intend_by_person(duplicate, "kim", "the bank was closed")
    await refunder.refund_due()
    assert await shop.moves(duplicate) == ["intended", "asked", "refused", "intended", "asked", "refunded"]
    assert ((await shop.refund(duplicate))["who"], (await shop.refund(duplicate))["by_person"]) == ("kim", True)


async def test_an_asynchronous_channel_is_done_when_its_row_is_there(shop: Shop, refunder: Refunder) -> None:
    """Code 0 without a new cancel_history row is not success: a look after it was made closes the refund."""
    duplicate = await _due(shop, refunder, async_cancel=True)
    await refunder.refund_due()
    assert (await shop.refund(duplicate))["answer"] == "accepted"
    assert await refunder.close_asked() == 0
    assert (await shop.refund(duplicate))["state"] == "asked"
    await shop.sandbox.move(duplicate, "finish-cancel")
    assert await refunder.close_asked() == 1
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.cancel_calls() == 1


async def test_a_worker_that_dies_after_the_request_does_not_send_again(
    shop: Shop, refunder: Refunder, other: Refunder
) -> None:
    """Cancelled while PortOne works on it: another worker looks, and never sends."""
    duplicate = await _due(shop, refunder)
    await shop.sandbox.faults(api_answer="hang", api_when="after", api_path="/payments/cancel")
    dying = asyncio.create_task(refunder.refund_due())
    await until(shop.has_been_called)
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    await shop.sandbox.faults()
    assert ((await shop.refund(duplicate))["state"], (await shop.refund(duplicate))["answer"]) == ("asked", None)
    assert await other.refund_due() == 0
    assert await other.close_asked() == 1
    assert await shop.cancel_calls() == 1
    assert await given_back(shop, [duplicate]) == [1]


async def test_postgres_gone_between_request_and_record_costs_nothing(
    shop: Shop, refunder: Refunder, other: Refunder, stores: Stores
) -> None:
    """The answer cannot be written: the refund stays asked, and a look closes it once Postgres is back."""
    duplicate = await _due(shop, refunder)
    name = await shop.pool.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(stores.postgres.url("postgres"))
    await shop.sandbox.faults(api_answer="hang", api_when="after", api_path="/payments/cancel")
    sending = asyncio.create_task(replace(refunder, call_seconds=1.0).refund_due())
    await until(shop.has_been_called)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await sending
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await admin.close()
    await shop.sandbox.faults()
    assert await other.refund_due() == 0
    assert await other.close_asked() == 1
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.cancel_calls() == 1


async def test_two_workers_send_one_call(shop: Shop, refunder: Refunder, other: Refunder) -> None:
    """Both take the same refund up at once, as after a lost lease: one of them sends."""
    duplicates = [(await shop.paid_twice(f"order-{number}"))[1] for number in range(4)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await asyncio.gather(*(worker.refund_due() for worker in (refunder, other, refunder, other)))
    assert await given_back(shop, duplicates) == [1] * 4
    assert await shop.cancel_calls() == 4
