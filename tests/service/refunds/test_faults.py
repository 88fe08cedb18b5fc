"""Money is refunded at most once, whatever fails, and an unknown result is for a person."""

import asyncio
import contextlib
from dataclasses import replace

import asyncpg
import pytest

from sandbox.errors import Refused
from sandbox.ledger import Ledger
from sandbox.payment import Payment
from sandbox.refunds import Refund
from service.portone.client import PortOne
from service.usecases.refunds import Refunder
from service.usecases.verification import Verifier
from tests.conftest import Stores
from tests.running import until
from tests.service.refunding import Shop, due, make_refunder, refund_counts


def _refuse(payment: Payment, refund: Refund) -> None:
    raise Refused("은행 점검 시간입니다.")


@pytest.mark.parametrize("answer", ["hang", "reset", "500", "401", "garbage", "wrong_shape", "half_body"])
async def test_a_refund_whose_answer_is_lost_is_found_by_looking(
    shop: Shop, verifier: Verifier, portone: PortOne, answer: str
) -> None:
    """A refund without a readable answer is not sent again, and a later look closes it."""
    refunder = make_refunder(verifier, portone, call_seconds=0.3)
    duplicate = await due(shop, refunder)
    await shop.sandbox.faults(api_answer=answer, api_when="after", api_path="/payments/cancel")
    assert await refunder.refund_due() == 1
    assert ((await shop.refund(duplicate))["state"], (await shop.refund(duplicate))["answer"]) == ("asked", "unknown")
    await shop.sandbox.faults()
    assert await refunder.refund_due() == 0
    assert await refunder.close_asked() == 1
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.cancel_calls() == 1
    assert await refund_counts(shop, [duplicate]) == [1]


async def test_a_refund_that_never_happened_is_for_a_person(shop: Shop, refunder: Refunder) -> None:
    """A refund call that was lost is never sent again, and after an hour becomes a problem of the order."""
    duplicate = await due(shop, refunder)
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
    # A person refunds it in the console, and the next look ends the problem.
    await shop.sandbox.move(duplicate, "cancel")
    await shop.announce("order-1", duplicate)
    await refunder.close_asked()
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.problems("order-1") == []


async def test_already_cancelled_is_no_success_until_a_look_shows_it(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the console was faster, PortOne answers 200 with code 1, and only a look shows the refund."""
    duplicate = await due(shop, refunder)
    cancel = ledger.cancel
    monkeypatch.setattr(ledger, "cancel", lambda payment, refund: (cancel(payment, refund), cancel(payment, refund)))
    assert await refunder.refund_due() == 1
    refund = await shop.refund(duplicate)
    assert (refund["state"], refund["answer"], refund["answer_text"]) == (
        "refunded", "refused", "이미 전액취소된 주문입니다.",
    )  # fmt: skip
    assert await refund_counts(shop, [duplicate]) == [1]


async def test_a_refusal_stays_refused(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refund that PortOne refused stays refused and is not sent again automatically."""
    duplicate = await due(shop, refunder)
    monkeypatch.setattr(ledger, "cancel", _refuse)
    assert await refunder.refund_due() == 1
    assert await shop.moves(duplicate) == ["intended", "asked", "refused"]
    assert await refunder.intents.intend_due() == 0
    assert await refunder.refund_due() == 0
    assert await shop.problems("order-1") == [("duplicate_payment", duplicate)]


async def test_a_refused_refund_may_come_to_pay_the_order(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the console refunds the first payment, the second, whose refund was refused, pays the order."""
    first, duplicate = await shop.paid_twice("order-1")
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    with monkeypatch.context() as closed:
        closed.setattr(ledger, "cancel", _refuse)
        await refunder.refund_due()
    await shop.sandbox.move(first, "cancel")
    await shop.announce("order-1", first)
    assert (await shop.refund(duplicate))["state"] == "refused"
    order = await shop.pool.fetchrow("SELECT state, imp_uid, problems FROM orders")
    assert order is not None
    assert tuple(order) == ("paid", duplicate, [])


async def test_a_person_may_ask_again_after_a_refusal(
    shop: Shop, refunder: Refunder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a refusal, and only then, a person may have the refund sent again, in a new round."""
    duplicate = await due(shop, refunder)
    with monkeypatch.context() as closed:
        closed.setattr(ledger, "cancel", _refuse)
        await refunder.refund_due()
    await refunder.intents.intend_by_person(duplicate, "kim", "the bank was closed")
    await refunder.refund_due()
    assert await shop.moves(duplicate) == ["intended", "asked", "refused", "intended", "asked", "refunded"]
    assert ((await shop.refund(duplicate))["who"], (await shop.refund(duplicate))["by_person"]) == ("kim", True)


async def test_an_asynchronous_channel_is_done_when_its_row_is_there(shop: Shop, refunder: Refunder) -> None:
    """Code 0 without a new cancel_history row is not success, and a look at the new row closes the refund."""
    duplicate = await due(shop, refunder, async_cancel=True)
    await refunder.refund_due()
    assert (await shop.refund(duplicate))["answer"] == "accepted"
    assert await refunder.close_asked() == 0
    assert (await shop.refund(duplicate))["state"] == "asked"
    await shop.sandbox.move(duplicate, "finish-cancel")
    assert await refunder.close_asked() == 1
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.cancel_calls() == 1


async def test_a_worker_that_dies_after_the_request_does_not_send_again(
    shop: Shop, refunder: Refunder, other_refunder: Refunder
) -> None:
    """If a worker dies while PortOne handles its call, another worker looks and does not send."""
    duplicate = await due(shop, refunder)
    await shop.sandbox.faults(api_answer="hang", api_when="after", api_path="/payments/cancel")
    dying = asyncio.create_task(refunder.refund_due())
    await until(shop.has_been_called)
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    await shop.sandbox.faults()
    assert ((await shop.refund(duplicate))["state"], (await shop.refund(duplicate))["answer"]) == ("asked", None)
    assert await other_refunder.refund_due() == 0
    assert await other_refunder.close_asked() == 1
    assert await shop.cancel_calls() == 1
    assert await refund_counts(shop, [duplicate]) == [1]


async def test_postgres_gone_between_request_and_record_costs_nothing(
    shop: Shop, refunder: Refunder, other_refunder: Refunder, stores: Stores
) -> None:
    """If the answer cannot be written, the refund stays `asked`, and a look closes it once Postgres is back."""
    duplicate = await due(shop, refunder)
    name = await shop.pool.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(stores.postgres.url("postgres"))
    await shop.sandbox.faults(api_answer="hang", api_when="after", api_path="/payments/cancel")
    sending = asyncio.create_task(replace(refunder, call_seconds=20.0).refund_due())
    await until(shop.has_been_called)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name)
    await shop.sandbox.faults()  # only now the call ends: its connection is cut
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await sending
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await admin.close()
    assert await other_refunder.refund_due() == 0
    assert await other_refunder.close_asked() == 1
    assert (await shop.refund(duplicate))["state"] == "refunded"
    assert await shop.cancel_calls() == 1


async def test_two_workers_send_one_call(shop: Shop, refunder: Refunder, other_refunder: Refunder) -> None:
    """If two workers take up the same refunds at the same time, each refund is sent once."""
    duplicates = [(await shop.paid_twice(f"order-{number}"))[1] for number in range(4)]
    await refunder.intents.intend_due()
    await shop.let_the_finding_age()
    await asyncio.gather(*(worker.refund_due() for worker in (refunder, other_refunder, refunder, other_refunder)))
    assert await refund_counts(shop, duplicates) == [1] * 4
    assert await shop.cancel_calls() == 4
