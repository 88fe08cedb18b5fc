"""Each version of an order keeps what led to it: the notice, the look, and what PortOne said in that look."""

from datetime import timedelta
from typing import Any

import asyncpg

from cli.order_page import facts_text
from service.db.pool import Pool, in_transaction
from service.domain.evidence import Evidence, of_looks, of_stored
from service.domain.notice import OpenNotice, Source
from service.domain.payment import Payment, Status
from service.domain.unreadable import UnreadablePayment, stand_in
from service.notice_ids import new_notice_id
from service.usecases.closing import expire
from tests.running import RunningService, bearer
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.domain.any_payment import STORE

PAYMENTS = [Payment(f"imp_{number}", "order-1", STORE, Status.PAID, 100, "KRW") for number in range(9)]


async def _events(pool: Pool) -> list[asyncpg.Record]:
    return await pool.fetch("SELECT * FROM order_events WHERE merchant_uid = 'order-1' ORDER BY version")


def _said(event: asyncpg.Record) -> list[tuple[str, str, int]]:
    return [(fact["imp_uid"], fact["status"], fact["cancelled_amount"]) for fact in event["facts"]]


async def test_an_event_names_its_notice_and_its_look(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A look's event has the notice, its source, when and with which ticket PortOne was asked, and its whole answer."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", state="paid")
    registration, look = await _events(pool)
    assert (registration["cause"], registration["notice_id"], registration["facts"]) == ("registration", None, [])
    [notice] = [row for row in await stored.notices(pool, imp_uid) if row["id"] == look["notice_id"]]
    assert (look["cause"], look["source"]) == ("look", notice["source"])
    assert notice["received_at"] <= look["looked_at"] <= look["at"] + timedelta(seconds=10)
    payment = await stored.payment(pool, imp_uid)
    assert payment is not None
    assert look["ticket"] < payment["written_ticket"]
    assert look["facts"] == [
        {
            "imp_uid": imp_uid, "status": "paid", "amount": 64900, "currency": "KRW", "cancelled_amount": 0,
            "live": True, "account": "default", "tier": "",
        }
    ]  # fmt: skip


async def test_what_portone_said_then_is_kept(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """After a refund the event of the payment still says `paid`, and nothing refunded."""
    await service.register("order-1")
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.becomes("order-1", state="paid")
    await sandbox.move(imp_uid, "cancel")
    await service.becomes("order-1", state="cancelled")
    _, paid, cancelled = await _events(pool)
    assert _said(paid) == [(imp_uid, "paid", 0)]
    assert _said(cancelled) == [(imp_uid, "cancelled", 64900)]
    assert cancelled["notice_id"] != paid["notice_id"]


async def test_a_late_registration_keeps_what_was_stored(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """An order that was paid before it was registered has, with its registration, what PortOne had said by then."""
    imp_uid = (await sandbox.pay("order-1", 64900))["imp_uid"]
    await service.complete(imp_uid, "order-1")
    await service.register("order-1")
    await service.becomes("order-1", state="paid")
    [event, *_] = await _events(pool)
    assert (event["cause"], event["state"], _said(event)) == ("registration", "paid", [(imp_uid, "paid", 0)])


async def test_each_kind_of_change_names_itself(receiver: RunningService, pool: Pool) -> None:
    """An amendment and an expiry are told from a look, and name no notice."""
    await receiver.register("order-1")
    headers = bearer() | {"If-Match": '"1"'}
    await receiver.call("PATCH", "/orders/order-1", json={"amount": 100}, headers=headers)
    await pool.execute("UPDATE orders SET expires_at = now() - interval '1 second'")
    await in_transaction(pool, expire, ["order-1"], timedelta(), allow_test_channel=False)
    events = await _events(pool)
    assert [event["cause"] for event in events] == ["registration", "amendment", "expiry"]
    assert [event["notice_id"] for event in events] == [None, None, None]


def _notice(imp_uid: str) -> OpenNotice:
    return OpenNotice(new_notice_id(), Source.WEBHOOK, True, imp_uid, STORE, None, "paid", 1, 0, timedelta())


def test_what_cannot_be_read_names_its_look() -> None:
    """An order whose payment became unreadable has the notice and the look, and no facts that nobody could read."""
    odd = UnreadablePayment("imp_1", "order-1", STORE, (("amount", "'free'"),))
    notice = _notice("imp_1")
    [evidence] = of_looks([notice], [odd], 7).values()
    expected = {"imp_uid": "imp_1", "account": "default", "tier": "", "unreadable": True}
    assert (evidence.notice_id, evidence.ticket, evidence.facts) == (notice.id, 7, (expected,))
    assert of_stored(Evidence().cause, [stand_in("order-1", odd)]).facts == (expected,)
    assert facts_text(expected) == "imp_1, which could not be read"


def test_an_answer_that_names_no_order_is_no_orders_evidence() -> None:
    """An unreadable payment without a readable order number leads to no version."""
    assert of_looks([_notice("imp_1")], [UnreadablePayment("imp_1", None, STORE, ())], 7) == {}


def test_the_first_of_several_notices_stands_for_all() -> None:
    """Of a webhook and a completion call about one payment the event names the first."""
    first, second = _notice("imp_1"), _notice("imp_1")
    [evidence] = of_looks([first, second], [PAYMENTS[1]], 7).values()
    assert (evidence.notice_id, evidence.ticket) == (first.id, 7)


def test_each_order_of_a_batch_has_its_own_evidence() -> None:
    """A batch of looks at several orders gives each order its own notice and facts."""
    other = Payment("imp_x", "order-2", STORE, Status.FAILED, 100, "KRW")
    mine, theirs = _notice("imp_1"), _notice("imp_x")
    evidence = of_looks([mine, theirs], [PAYMENTS[1], other], 7)
    assert {name: each.notice_id for name, each in evidence.items()} == {"order-1": mine.id, "order-2": theirs.id}
    assert [fact["status"] for fact in evidence["order-2"].facts] == ["failed"]


def test_evidence_is_bounded_and_has_nothing_personal() -> None:
    """Of many payments five are kept, each with what a rule reads and no detail."""
    kept: tuple[Any, ...] = of_stored(Evidence().cause, PAYMENTS).facts
    assert len(kept) == 5
    assert kept[0].keys() == {
        "imp_uid", "status", "amount", "currency", "cancelled_amount", "live", "account", "tier",
    }  # fmt: skip
