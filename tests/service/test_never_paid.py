"""An order is never called `paid` if it is not, and a failure to ask is not an answer (docs/design.md §2.5, §2.6)."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from service.db import notices
from service.db.pool import Pool, in_transaction
from service.domain.judgement import Postponed
from service.domain.notice import Notice, Source
from service.domain.timetable import Timetable
from service.notice_ids import new_notice_id
from service.settings import Settings
from service.usecases.verification import Verifier
from tests.running import RunningService, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored

TIER = "abc"
FAULTS = ("401", "429", "500", "502", "503", "half_body", "garbage", "wrong_shape", "reset")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"portone_tiers": (TIER,)})


async def _record(pool: Pool, imp_uids: Sequence[str], tier: str | None = None) -> list[UUID]:
    batch = [Notice(new_notice_id(), Source.WEBHOOK, uid, tier=tier, claimed_status="paid") for uid in imp_uids]
    return await in_transaction(pool, notices.record, batch, Timetable().queued)


async def _paid(portone: RunningSandbox, merchant_uid: str, /, *, amount: float = 64900, **terms: object) -> str:
    return str((await portone.pay(merchant_uid, amount, **terms))["imp_uid"])


@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ({"amount": 64899}, "wrong_amount"),
        ({"amount": 649, "currency": "USD"}, "wrong_currency"),  # 64900 of the smallest unit, of another currency
        ({"amount": 64900, "sandbox": True}, "test_channel"),
        ({"amount": 64900, "tier": TIER}, "wrong_store"),
    ],
)
async def test_a_disagreeing_payment(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, terms: dict[str, Any], kind: str
) -> None:
    """A payment with a wrong amount, currency, channel or tier is a problem by webhook, and a 400 by completion."""
    await service.register("order-1")
    imp_uid = await _paid(sandbox, "order-1", **terms)
    await service.becomes("order-1", problems=[{"kind": kind, "imp_uid": imp_uid}])
    status, body = await service.decided(imp_uid, "order-1")
    assert (status, body["type"]) == (400, f"urn:portone-orders:problem:{kind.replace('_', '-')}")
    state = "pending" if kind == "test_channel" else "mismatched"
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, state)]
    assert await stored.never_paid(pool)


async def test_by_a_batch_look(
    receiver: RunningService, sandbox: RunningSandbox, pool: Pool, verifier: Verifier
) -> None:
    """Payments of a batch look are judged like single ones, and only the agreeing one pays its order."""
    payments = {}
    cases: dict[str, dict[str, Any]] = {
        "test": {"sandbox": True},
        "amount": {"amount": 1},
        "currency": {"amount": 649, "currency": "USD"},
        "ok": {},
    }
    for name, terms in cases.items():
        await receiver.register(name)
        payments[name] = await _paid(sandbox, name, **terms, webhook=False)
    ids = await _record(pool, list(payments.values()))
    await sandbox.faults(omit_sandbox=True)
    await verifier.verify(ids)
    await sandbox.faults()
    assert (await sandbox.calls())["by_template"]["GET /payments"] == 1
    states = {row["merchant_uid"]: row["state"] for row in await pool.fetch("SELECT * FROM orders")}
    assert states == {"test": "pending", "amount": "mismatched", "currency": "mismatched", "ok": "paid"}
    assert await stored.problems(pool, "test") == [("test_channel", payments["test"])]
    paid = await pool.fetch("SELECT merchant_uid FROM order_events WHERE state = 'paid'")
    assert [row["merchant_uid"] for row in paid] == ["ok"]


async def test_another_orders_payment_replayed(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A real payment of equal price that is claimed for another order pays only its own."""
    await service.register("mine")
    await service.register("theirs")
    imp_uid = await _paid(sandbox, "theirs")
    body = {"imp_uid": imp_uid, "merchant_uid": "mine", "status": "paid"}
    assert (await service.call("POST", "/webhooks/portone/v1", json=body))[0] == 200
    status, answer = await service.decided(imp_uid, "mine")
    assert (status, answer["type"]) == (400, "urn:portone-orders:problem:other-order")
    await service.becomes("theirs", state="paid")
    assert await stored.events(pool, "mine") == [(1, "pending")]


async def test_another_tiers_payment_announced_at_our_address(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A sub-store's payment is not found without its tier, and with it is another store's money."""
    await service.register("order-1")
    imp_uid = await _paid(sandbox, "order-1", tier=TIER, webhook=False)
    status, answer = await service.decided(imp_uid, "order-1")
    assert (status, answer["type"]) == (400, "urn:portone-orders:problem:payment-unknown")
    await sandbox.send_webhook(imp_uid, tier=TIER)
    await service.becomes("order-1", state="mismatched")
    assert await stored.problems(pool, "order-1") == [("wrong_store", imp_uid)]
    assert await stored.never_paid(pool)


async def test_a_payment_that_does_not_exist(service: RunningService, pool: Pool) -> None:
    """An invented imp_uid stores no payment and changes no order, and its notice stays open for a while."""
    await service.register("order-1")
    status, body = await service.decided("imp_000000000000", "order-1")
    assert (status, body["type"]) == (400, "urn:portone-orders:problem:payment-unknown")
    rows = await stored.notices(pool, "imp_000000000000")
    assert {(notice["last_outcome"], notice["due_at"] is not None) for notice in rows} == {("payment_unknown", True)}
    assert (await stored.count(pool, "payments"), await stored.events(pool, "order-1")) == (0, [(1, "pending")])


@pytest.mark.parametrize(
    ("fault", "path"),
    [(fault, "/payments") for fault in FAULTS] + [(fault, "/users/getToken") for fault in ("401", "500", "garbage")],
)
async def test_a_failure_to_ask(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, fault: str, path: str
) -> None:
    """While PortOne fails in any way the order does not change, and afterwards it is paid."""
    await service.register("order-1")
    await sandbox.faults(api_answer=fault, api_path=path)
    imp_uid = await _paid(sandbox, "order-1", webhook=False)
    status, body = await service.complete(imp_uid, "order-1", headers={"Prefer": "wait=0"})
    assert (status, body["merchant_uid"]) == (202, "order-1")
    await _failed_to_ask(pool, imp_uid)
    assert await stored.never_paid(pool)
    assert (await stored.count(pool, "payments"), await stored.events(pool, "order-1")) == (0, [(1, "pending")])
    await sandbox.faults()
    await service.becomes("order-1", state="paid")
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_a_provider_that_times_out(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A call that hangs is given up within 6 s, changes nothing, and is made again."""
    await service.register("order-1")
    await sandbox.faults(api_answer="hang")
    imp_uid = await _paid(sandbox, "order-1")

    async def is_asked() -> bool:
        return bool((await sandbox.calls())["in_flight"])

    await until(is_asked)
    await _failed_to_ask(pool, imp_uid, seconds=8)
    assert await stored.never_paid(pool)
    await sandbox.faults()
    await service.becomes("order-1", state="paid")
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failure_to_ask_for_a_batch(
    receiver: RunningService, sandbox: RunningSandbox, pool: Pool, verifier: Verifier, fault: str
) -> None:
    """While a batch look fails nothing is stored, and once it succeeds everything is."""
    payments = []
    for number in range(3):
        await receiver.register(f"order-{number}")
        payments.append(await _paid(sandbox, f"order-{number}", webhook=False))
    ids = await _record(pool, payments)
    await sandbox.faults(api_answer=fault, api_path="/payments")
    judgement = await verifier.verify(ids)
    assert [type(fate) for _, fate in judgement.fates] == [Postponed] * 3
    assert (judgement.news, judgement.changes) == ([], [])
    assert await stored.never_paid(pool)
    assert await stored.count(pool, "payments") == 0
    await sandbox.faults()
    await pool.execute("TRUNCATE last_looks")
    assert len((await verifier.verify(ids)).changes) == 3
    assert await pool.fetchval("SELECT count(*) FROM order_events WHERE state = 'paid'") == 3


async def test_paid_under_the_order_of_another_number_in_the_answer(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """An answer about another imp_uid than the one asked for is not accepted."""
    await service.register("order-1")
    imp_uid = await _paid(sandbox, "order-1", webhook=False)
    await sandbox.move(imp_uid, "set", fields={"imp_uid": "imp_other"})

    async def not_believed() -> bool:
        status, body = await service.complete(imp_uid, "order-1", headers={"Prefer": "wait=1"})
        assert (status, body["reason"]) in ((202, "not-looked-yet"), (202, "answer-unreadable"))
        return bool(body["reason"] == "answer-unreadable")

    await until(not_believed)
    assert await stored.never_paid(pool)


async def _failed_to_ask(pool: Pool, imp_uid: str, seconds: float = 20) -> None:
    """Wait until the notice's row says that PortOne could not be asked."""
    not_asked = {"portone_unavailable", "portone_refused", "answer_unreadable"}

    async def has_failed() -> bool:
        return any(row["last_outcome"] in not_asked for row in await stored.notices(pool, imp_uid))

    await until(has_failed, seconds)
