"""`GET /payment-redirect` never shows a machine's error; without an imp_uid PortOne is asked by the order's number.

`POST /payment/complete` without an imp_uid works the same way.
"""

import asyncio
import random
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from yarl import URL

from service.db import searches
from service.db.pool import Pool, in_statement
from service.settings import Settings
from tests.running import RunningService, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.http.refusals import is_problem

SHOP = "https://shop.example.test/done"
AT_ONCE = {"Prefer": "wait=0"}
# What a script says that has no imp_uid.
NO_IMP_UID = ["", "&imp_uid=", "&imp_uid=null", "&imp_uid=undefined", "&imp_uid=%5Bobject%20Object%5D"]
ATTEMPTS = "GET /payments/findAll/{merchant_uid}"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"return_url": f"{SHOP}?lang=ko"})


async def _lands(receiver: RunningService, query: str, **options: object) -> dict[str, str]:
    """Return the query of the shop's page where a browser ends that comes with this very query."""
    url = URL(f"{receiver.url}/payment-redirect?{query}", encoded=True)
    async with receiver.session.get(url, allow_redirects=False, **options) as answer:  # type: ignore[arg-type]
        assert answer.status == 303, (query[:200], answer.status, await answer.text())
        location = answer.headers["Location"]
    parts = urlsplit(location)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}#{parts.fragment}" == f"{SHOP}#", location
    values = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)
    assert values.pop("lang") == ["ko"]
    assert values.keys() <= {"merchant_uid", "state", "reason"}
    assert all(len(given) == 1 for given in values.values())
    return {name: given[0] for name, given in values.items()}


@pytest.mark.parametrize("imp_uid", NO_IMP_UID)
async def test_a_return_without_an_imp_uid_finds_the_orders_payment(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, imp_uid: str
) -> None:
    """PortOne is asked by merchant_uid, and what it names decides."""
    await service.register("order-1")
    await sandbox.pay("order-1", 64900, webhook=False)
    assert await _lands(service, f"merchant_uid=order-1{imp_uid}") == {"merchant_uid": "order-1", "state": "paid"}
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]
    assert (await sandbox.calls())["by_template"][ATTEMPTS] == 1


async def test_a_return_with_an_error_code_and_no_imp_uid(service: RunningService, sandbox: RunningSandbox) -> None:
    """The error is not believed: a failed attempt is told as PortOne tells it, and a paid one is paid."""
    await service.register("order-1")
    first = await sandbox.open("order-1", 64900)
    await sandbox.move(first["imp_uid"], "fail", webhook=False)
    landed = await _lands(service, "merchant_uid=order-1&error_code=F400&error_msg=x")
    assert landed == {"merchant_uid": "order-1", "state": "failed", "reason": "payment-failed"}
    await sandbox.pay("order-1", 64900, webhook=False)
    landed = await _lands(service, "merchant_uid=order-1&error_code=F400&error_msg=x")
    assert landed == {"merchant_uid": "order-1", "state": "paid"}


async def test_all_attempts_of_the_order_count(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """A payment before two windows that were left open is found, although PortOne's batch lists only the newest."""
    await service.register("order-1")
    await sandbox.faults(batch_latest_only=True)
    first, *_ = [await sandbox.open("order-1", 64900) for _ in range(3)]
    await sandbox.move(first["imp_uid"], "pay", webhook=False)
    assert (await _lands(service, "merchant_uid=order-1"))["state"] == "paid"
    assert await stored.count(pool, "payments") == 3


async def test_a_return_of_an_order_that_is_paid_asks_nobody(service: RunningService, sandbox: RunningSandbox) -> None:
    """The stored state is the answer."""
    await service.register("order-1")
    await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid")
    assert (await _lands(service, "merchant_uid=order-1"))["state"] == "paid"
    assert ATTEMPTS not in (await sandbox.calls())["by_template"]


async def test_a_return_finds_money_of_the_wrong_amount(service: RunningService, sandbox: RunningSandbox) -> None:
    """The order's rule decides, and the reason is told."""
    await service.register("order-1")
    await sandbox.pay("order-1", 100, webhook=False)
    landed = await _lands(service, "merchant_uid=order-1")
    assert landed == {"merchant_uid": "order-1", "state": "failed", "reason": "wrong-amount"}


async def test_a_return_finds_an_account_to_pay_into(service: RunningService, sandbox: RunningSandbox) -> None:
    """An issued account is told as such."""
    await service.register("order-1")
    issued = await sandbox.open("order-1", 64900, pay_method="vbank")
    await sandbox.move(issued["imp_uid"], "issue", webhook=False)
    assert (await _lands(service, "merchant_uid=order-1"))["state"] == "awaiting_deposit"


async def test_a_return_of_an_order_without_payments(service: RunningService, sandbox: RunningSandbox) -> None:
    """PortOne knows none, or one whose window is still open."""
    await service.register("order-1")
    landed = await _lands(service, "merchant_uid=order-1", headers={"Prefer": "wait=1"})
    assert (landed["state"], landed["reason"]) == ("failed", "payment-unknown")
    await sandbox.open("order-1", 64900)
    landed = await _lands(service, "merchant_uid=order-1&error_code=F1", headers={"Prefer": "wait=20"})
    assert (landed["state"], landed["reason"]) == ("pending", "window-open")


async def test_a_return_of_an_order_that_nobody_registered(service: RunningService, sandbox: RunningSandbox) -> None:
    """PortOne is not asked about invented numbers."""
    landed = await _lands(service, "merchant_uid=invented")
    assert landed == {"merchant_uid": "invented", "state": "pending", "reason": "order-not-registered"}
    assert ATTEMPTS not in (await sandbox.calls())["by_template"]


async def test_a_search_that_portone_does_not_answer_is_made_again(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """The buyer is told so; the order is settled without him once PortOne is back."""
    await service.register("order-1")
    await sandbox.pay("order-1", 64900, webhook=False)
    await sandbox.faults(api_answer="500")
    landed = await _lands(service, "merchant_uid=order-1", headers={"Prefer": "wait=1"})
    assert (landed["state"], landed["reason"]) == ("pending", "portone-not-answering")
    await sandbox.faults()
    await service.becomes("order-1", state="paid")


async def test_a_search_is_made_without_redis_soon_after(
    service: RunningService, sandbox: RunningSandbox, pool: Pool
) -> None:
    """A job that the queue lost is made up for by the cron line: the row is the timetable."""
    await service.register("order-1")
    await sandbox.pay("order-1", 64900, webhook=False)
    await pool.execute("INSERT INTO searches (merchant_uid, wanted_at, due_at) VALUES ('order-1', now(), now())")
    await service.becomes("order-1", state="paid")

    async def has_ended() -> bool:
        row = await pool.fetchrow("SELECT due_at, last_outcome FROM searches")
        return row is not None and tuple(row) == (None, "looked")

    await until(has_ended)


async def test_one_order_may_be_wanted_many_times_at_once(pool: Pool) -> None:
    """A batch that names one order a hundred times is one search."""
    await stored.register_order(pool, "order-1")
    wanted = await in_statement(pool, searches.want, ["order-1"] * 100, timedelta(seconds=1))
    assert list(wanted) == ["order-1"]
    assert await stored.count(pool, "searches") == 1


async def test_searches_of_one_order_share_calls(service: RunningService, sandbox: RunningSandbox) -> None:
    """PortOne is asked about one order at most twice a second, from any number of browsers."""
    await service.register("order-1")
    await sandbox.open("order-1", 64900)
    await asyncio.gather(*(_lands(service, "merchant_uid=order-1", headers={"Prefer": "wait=1"}) for _ in range(40)))
    assert 1 <= (await sandbox.calls())["by_template"][ATTEMPTS] <= 4


async def test_a_completion_without_an_imp_uid(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """The guide's own call works by the registered merchant_uid alone, as JSON and as a form."""
    await service.register("order-1")
    await sandbox.pay("order-1", 64900, webhook=False)
    for body in ({"merchant_uid": "order-1"}, {"imp_uid": None, "merchant_uid": "order-1"}):
        answer = await service.call("POST", "/payment/complete", json=body)
        assert answer == (200, {"merchant_uid": "order-1", "state": "paid"})
    form = {"imp_uid": "undefined", "merchant_uid": "order-1"}
    assert (await service.call("POST", "/payment/complete", data=form))[0] == 200
    assert await stored.events(pool, "order-1") == [(1, "pending"), (2, "paid")]


async def test_a_completion_without_an_imp_uid_of_an_unregistered_order(receiver: RunningService, pool: Pool) -> None:
    """It names neither a payment nor an order that we know, so it is refused and nothing is stored."""
    status, body = await receiver.call("POST", "/payment/complete", json={"merchant_uid": "order-1"})
    is_problem(status, body, 400)
    assert body["type"].endswith(":unusable-notice")
    assert await stored.count(pool, "searches") == await stored.count(pool, "notices") == 0


async def test_a_completion_by_number(service: RunningService, sandbox: RunningSandbox) -> None:
    """A merchant_uid may be a number, as a webhook's may."""
    await service.register("20261124")
    imp_uid = (await sandbox.pay("20261124", 64900, webhook=False))["imp_uid"]
    body = {"imp_uid": imp_uid, "merchant_uid": 20261124}
    answer = await service.call("POST", "/payment/complete", json=body)
    assert answer == (200, {"merchant_uid": "20261124", "state": "paid"})


async def test_without_a_return_url_the_buyer_sees_a_page(settings: Settings) -> None:
    """Neither a redirect nor a machine's error: a page in both languages."""
    async with running_receiver(settings.model_copy(update={"return_url": ""})) as receiver:
        url = f"{receiver.url}/payment-redirect?merchant_uid=order-1"
        async with receiver.session.get(url, allow_redirects=False) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            page = await answer.text()
    assert "결제" in page
    assert "payment" in page


HOSTILE_VALUES = [
    *(
        "",
        "imp_1",
        "order-1",
        "null",
        "undefined",
        "NaN",
        "0",
        "-1",
        "1e999",
        "true",
        "+",
        "{}",
        "[]",
        "a;b",
        "=",
        "&&&",
    ),
    *("%00", "%0a", "imp_1%0a", "%0d%0aLocation:%20//evil.test", "%0d%0aSet-Cookie:%20a=b", "%26state=paid", "%23x"),
    *("//evil.test", "https://evil.test/", "@evil.test", "%40evil.test", "%5c%5cevil.test", "javascript:alert(1)"),
    *("%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cimg%20src=x%3E", "'%20OR%201=1--", "..%2f..%2fetc%2fpasswd"),
    *("%ff%fe", "%ed%a0%80", "%F0%9F%92%B3", "%EC%A3%BC%EB%AC%B8", "%zz", "%", "%u0041", "imp_1,imp_2"),
    *("i" * 65, "m" * 256, "x" * 4000, "%EA" * 1000),
]
HOSTILE_KEYS = [
    *("imp_uid", "imp_uid", "imp_uid[]", "imp%5Fuid", "merchant_uid", "merchant_uid", "merchant_uid[]", "", "%00"),
    *("error_code", "error_msg", "imp_success", "success", "status", "state", "reason", "lang"),
    *("return_url", "next", "Location"),
]


def hostile_queries(count: int) -> Iterator[str]:
    """Yield queries with missing, doubled, huge, scripted and wrongly typed parameters; the same each time."""
    rng = random.Random(13)
    for _ in range(count):
        pairs = [(rng.choice(HOSTILE_KEYS), rng.choice(HOSTILE_VALUES)) for _ in range(rng.randint(0, 6))]
        yield rng.choice(["&", "&", "&&", ";"]).join(
            name if rng.random() < 0.05 else f"{name}={quote(value, safe='%&=+;,@:/{}[]()<>')}" for name, value in pairs
        )[:8000]


async def _all_end_at_the_shop(settings: Settings, count: int) -> set[str]:
    """Return the reasons with which `count` hostile returns ended at the shop's page, 16 at a time."""
    async with running_receiver(settings) as receiver:
        at_once, reasons = asyncio.Semaphore(16), set()

        async def lands(query: str) -> None:
            async with at_once:
                landed = await _lands(receiver, query, headers=AT_ONCE)
            assert landed["state"] in ("pending", "failed"), query
            reasons.add(landed["reason"])

        await asyncio.gather(*(lands(query) for query in hostile_queries(count)))
    return reasons


async def test_three_hundred_hostile_returns_end_at_the_return_url(settings: Settings, pool: Pool) -> None:
    """Missing, doubled, huge, scripted and wrongly typed parameters: none ends elsewhere, and none is a 4xx or 5xx."""
    assert await _all_end_at_the_shop(settings, 300) == {"unusable-notice", "order-not-registered", "not-looked-yet"}
    assert await stored.never_paid(pool)


@pytest.mark.parametrize(
    ("away", "reasons"),
    [
        ({"database_url": "postgresql://user@127.0.0.1:1/away"}, {"nothing-recorded", "not-looked-yet"}),
        ({"redis_url": "redis://127.0.0.1:1/0"}, {"order-not-registered", "not-looked-yet"}),
        (
            {"database_url": "postgresql://user@127.0.0.1:1/away", "redis_url": "redis://127.0.0.1:1/0"},
            {"nothing-recorded"},
        ),
    ],
    ids=["Postgres", "Redis", "both"],
)
async def test_hostile_returns_while_a_database_is_away(
    settings: Settings, away: dict[str, str], reasons: set[str]
) -> None:
    """Each database away, and both: all end at the shop's page."""
    urls = {name: type(settings.database_url)(url) for name, url in away.items()}
    assert await _all_end_at_the_shop(settings.model_copy(update=urls), 60) == reasons | {"unusable-notice"}


@pytest.mark.usefixtures("still_limits")
async def test_hostile_returns_beyond_the_limits(settings: Settings) -> None:
    """Too many calls: the buyer is sent to the shop all the same."""
    few = settings.model_copy(update={"completions_per_client": 1.0, "completions_per_second": 1.0})
    assert "too-many-calls" in await _all_end_at_the_shop(few, 60)
