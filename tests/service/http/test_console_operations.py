"""Each operation of the console does what the command does, and is recorded with the key's name and the reason."""

from collections.abc import AsyncIterator

import pytest

from service.db.pool import Pool
from service.domain.service_key import Scope
from tests.running import RunningService
from tests.service import stored
from tests.service.http.console_client import ConsoleClient, console_client
from tests.service.http.test_keys import KEY, make
from tests.service.refunding import Shop

WHO = f"shipping ({KEY[:12]})"


@pytest.fixture
async def console(receiver: RunningService, pool: Pool) -> AsyncIterator[ConsoleClient]:
    """Someone who has signed in with a key of the table."""
    await make(pool, [Scope.ADMIN])
    async with console_client(receiver.url) as client:
        assert await client.sign_in(KEY) == 303
        yield client


async def _actions(pool: Pool) -> list[tuple[str, str, str, str]]:
    rows = await pool.fetch("SELECT action, subject, who, why FROM operator_actions ORDER BY id")
    return [tuple(row) for row in rows]


async def test_money_is_given_back_accepted_or_left(console: ConsoleClient, shop: Shop, pool: Pool) -> None:
    """A page says first what will happen; then a refund is intended, a payment accepted, and a problem left."""
    _, duplicate = await shop.paid_twice("order-1")
    other, left = await shop.paid_wrongly("order-2", 100), await shop.paid_wrongly("order-3", 300)
    for name, imp_uid, sentence in (
        ("refund", duplicate, "goes back to the buyer: 64,900 KRW"),
        ("accept", other, "becomes 100 KRW, instead of 64,900 KRW"),
        ("resolve", left, "stay as they are: wrong amount"),
    ):
        page = (await console.get(f"/confirm?do={name}&subject={imp_uid}"))[1]
        assert sentence in page
        assert 'href="/console/order?number=order-' in page
        status, _, headers = await console.do(name, imp_uid, "the buyer called")
        assert (status, headers["Location"].startswith("/console/order?number=order-")) == (303, True)
    assert (await shop.refund(duplicate))["state"] == "intended"
    accepted = await stored.order(pool, "order-2")
    assert (accepted["state"], accepted["amount"]) == ("paid", 100)
    assert await _actions(pool) == [
        ("problems.refund", duplicate, WHO, "the buyer called"),
        ("orders.accept", other, WHO, "the buyer called"),
        ("problems.resolve", left, WHO, "the buyer called"),
    ]
    assert (await console.get(f"/orders?q={left}"))[2]["Location"] == "/console/order?number=order-3"
    page = (await console.get("/order?number=order-1"))[1]
    assert f"A second payment still holds money: 64,900 KRW under {duplicate}" in page
    assert ("is to be given back. Leaving" in page, f"do=refund&subject={duplicate}" in page) == (True, False)
    assert "intended already, by" in (await console.get(f"/confirm?do=refund&subject={duplicate}"))[1]
    story = (await console.get("/order?number=order-3"))[1]
    assert f"Held at PortOne, not counted: 300 KRW under {left}. Why: wrong amount." in story
    assert "PortOne was last asked about it at" in story
    listed = (await console.get("/orders?problem=any"))[1]
    assert ('<span class="quiet">wrong amount (resolved)' in listed, '<span class="bad">wrong amount' in listed) == (
        True, False,
    )  # fmt: skip
    assert "Left as it is" in story
    assert f"{WHO}: the buyer called" in story


async def test_what_the_rules_forbid_is_refused_in_a_sentence(console: ConsoleClient, shop: Shop, pool: Pool) -> None:
    """The page says why, before and after the button, and nothing is written."""
    first, _ = await shop.paid_twice("order-1")
    for name in ("refund", "accept"):
        status, page, _ = await console.do(name, "imp_nobodys")
        assert (status, "stored" in page) == (409, True)
    status, page, _ = await console.get(f"/confirm?do=refund&subject={first}")
    assert (status, "no longer a finding" in page) == (409, True)
    assert (await console.do("resolve", first))[0] == 404
    assert await _actions(pool) == []


async def test_notices_and_endpoints(console: ConsoleClient, pool: Pool) -> None:
    """Parked notices are replayed, one or all, and an endpoint is disabled and enabled again."""
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, registered, parked_at, last_outcome)"
        " SELECT gen_random_uuid(), 'webhook', 'imp_' || n, false, now(), 'payment_unknown'"
        " FROM generate_series(1, 3) AS n"
    )
    await pool.execute(
        "INSERT INTO endpoints (name, url, secret, told_to) VALUES ('shop', 'https://s.example', 'w', 0)"
    )
    notice_id = str(await pool.fetchval("SELECT id FROM notices LIMIT 1"))
    assert (await console.do("replay", notice_id))[0] == 303
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE parked_at IS NOT NULL") == 2
    assert (await console.do("replay-all", ""))[0] == 303
    assert await pool.fetchval("SELECT count(*) FROM notices WHERE parked_at IS NOT NULL") == 0
    for name, disabled in (("disable", True), ("enable", False)):
        assert (await console.do(name, "shop"))[2]["Location"] == f"/console/endpoint?name=shop&done={name}d"
        assert await pool.fetchval("SELECT disabled_at IS NOT NULL FROM endpoints") is disabled
    assert [action for action, _, who, _ in await _actions(pool) if who == WHO] == [
        "notices.replay", "notices.replay", "notices.replay", "endpoints.disable", "endpoints.enable",
    ]  # fmt: skip
    page = (await console.get("/actions"))[1]
    assert "enabled an endpoint" in page
    assert f'href="/console/notices?about={notice_id}"' in page


async def test_parked_notices_are_dismissed(console: ConsoleClient, pool: Pool) -> None:
    """A notice, or all of an account and tier that is in no setting, end without a look, with who and why."""
    await pool.execute(
        "INSERT INTO notices (id, source, imp_uid, merchant_uid, account, tier, registered, parked_at, last_outcome)"
        " SELECT gen_random_uuid(), 'webhook', 'imp_' || n, 'theirs-' || n, 'b', 'xyz', false, now(),"
        " CASE WHEN n < 4 THEN 'store_not_configured' ELSE 'order_not_registered' END FROM generate_series(1, 4) AS n"
    )
    page = (await console.get("/notices"))[1]
    assert ("imp_3" in page, "imp_4" in page, "do=dismiss-store&subject=b%2Fxyz" in page) == (True, False, True)
    assert "imp_4" in (await console.get("/notices?tab=unregistered"))[1]
    first = str(await pool.fetchval("SELECT id FROM notices WHERE imp_uid = 'imp_1'"))
    assert (await console.do("dismiss", first, "the other shop's"))[0] == 303
    assert "2 parked notices" in (await console.get("/confirm?do=dismiss-store&subject=b%2Fxyz"))[1]
    assert (await console.do("dismiss-store", "b/xyz", "the other shop's"))[0] == 303
    ended = await pool.fetch("SELECT imp_uid FROM notices WHERE handled_at IS NOT NULL AND last_outcome = 'dismissed'")
    assert sorted(row["imp_uid"] for row in ended) == ["imp_1", "imp_2", "imp_3"]
    assert [action[::2] for action in await _actions(pool)] == [("notices.dismiss", WHO)] * 3
    assert (await console.do("dismiss", first))[0] == 404
    for text, location in (
        ("theirs-4", "/console/order?number=theirs-4"),
        ("imp_4", "/console/order?number=theirs-4"),
        (first, f"/console/notices?about={first}"),
    ):
        assert (await console.get(f"/orders?q={text}"))[2]["Location"] == location
    assert "order not registered" in (await console.get("/order?number=theirs-4"))[1]
