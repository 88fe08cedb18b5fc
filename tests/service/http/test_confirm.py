"""`POST /payments/confirm` answers PortOne just before it approves a payment (docs/portone.md §2, confirm_url)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from service.db.pool import Pool
from service.settings import Settings
from service.usecases import confirmation
from tests.running import PATIENT, RunningService, bearer, running_receiver, until
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.conftest import Logged

# The limit in all cases, because PortOne may wait for only 5 s.
PROMISED_SECONDS = 2.0


async def _confirm(receiver: RunningService, amount: Any = 64900, **options: Any) -> tuple[int, str | None, str | None]:
    """Make the call. Returns status, problem type and reason."""
    body = {"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": amount}
    began = time.monotonic()
    status, answer = await receiver.call("POST", "/payments/confirm", **(options or {"json": body}))
    assert time.monotonic() - began < PROMISED_SECONDS
    if status == 200:
        return 200, None, None
    return status, answer["type"].removeprefix("urn:portone-orders:problem:"), answer["reason"]


async def test_a_payable_order_may_be_paid(receiver: RunningService, pool: Pool) -> None:
    """A payment of the registered amount may be made, as JSON or form, and nothing is written."""
    await receiver.register("order-1")
    assert (await _confirm(receiver))[0] == 200
    form = {"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": "64900"}
    assert (await _confirm(receiver, data=form))[0] == 200
    assert await stored.count(pool, "notices") == await stored.count(pool, "payments") == 0
    assert await stored.events(pool, "order-1") == [(1, "pending")]


async def test_an_amount_in_dollars_is_portones_decimal(receiver: RunningService) -> None:
    """An order of 600 cents is confirmed for 6 and 6.00, and not for 600."""
    await receiver.register("order-1", 600, currency="USD")
    assert [(await _confirm(receiver, amount))[0] for amount in (6, 6.0, "6.00", 600)] == [200, 200, 200, 409]


REFUSED = (409, "not-payable", "결제할 수 없는 주문입니다.")


async def test_what_is_not_payable_is_refused_with_one_reason(
    service: RunningService, sandbox: RunningSandbox, pool: Pool, logged: Callable[[ModuleType], Logged]
) -> None:
    """Anybody may ask, so nobody learns whether an order exists, is paid, or has an amount; the log has the reason."""
    log = logged(confirmation)
    assert await _confirm(service) == REFUSED
    await service.register("order-1")
    assert await _confirm(service, 100) == REFUSED
    await service.call("POST", "/orders/order-1/withdraw", headers=bearer() | PATIENT)
    assert await _confirm(service) == REFUSED
    await pool.execute("UPDATE orders SET closed = NULL, expires_at = now()")
    assert await _confirm(service) == REFUSED
    await sandbox.pay("order-1", 64900)
    await service.becomes("order-1", state="paid")
    assert await _confirm(service) == REFUSED
    assert [fields["reason"] for fields in log.of("confirmation.refused")] == [
        *("order_not_registered", "wrong_amount", "order_withdrawn", "order_expired", "money_held")
    ]


async def test_a_question_without_an_amount_is_answered_for_what_can_be_judged(receiver: RunningService) -> None:
    """Galaxia's variant (docs/portone.md §4.25) names no amount; the buyer at the till is not refused for that."""
    galaxia = {"event": "Galaxia.Cvs.Confirm", "imp_uid": "imp_1", "merchant_uid": "order-1", "status": "ready"}
    for amount in ({}, {"amount": None}, {"amount": ""}):
        question = {**galaxia, **amount, "extra": {"convenienceStore": "GS25"}}
        assert await _confirm(receiver, json=question) == REFUSED
    await receiver.register("order-1")
    for amount in ({}, {"amount": None}, {"amount": ""}):
        assert (await _confirm(receiver, json={**galaxia, **amount, "extra": {}}))[0] == 200


async def test_a_question_may_name_its_order_by_a_number(receiver: RunningService) -> None:
    """A question whose merchant_uid is a number is answered, as a webhook is."""
    await receiver.register("20261124")
    question = {"imp_uid": "imp_1", "merchant_uid": 20261124, "amount": 64900}
    assert (await _confirm(receiver, json=question))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": true}',
        b'{"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": "a lot"}',
        b'{"imp_uid": "../1", "merchant_uid": "order-1", "amount": 64900}',
        b'{"imp_uid": "imp_1", "merchant_uid": ["order-1"], "amount": 64900}',
        b"imp_uid=imp_1&amount=64900",
        b"x" * 70_000,
    ],
)
async def test_what_cannot_be_read_is_refused(receiver: RunningService, body: bytes) -> None:
    """A body without payment, order or amount is answered 400 with a reason."""
    await receiver.register("order-1")
    assert await _confirm(receiver, data=body) == (400, "unreadable", "요청을 읽을 수 없습니다.")


async def test_a_body_that_never_ends_is_refused_in_time(receiver: RunningService) -> None:
    """A body that never ends is refused in time."""
    parts = urlsplit(receiver.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"POST /payments/confirm HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(PROMISED_SECONDS):
        assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.usefixtures("still_limits")
async def test_one_addresss_questions_are_limited(settings: Settings) -> None:
    """Questions of one address beyond its rate are 429."""
    limited = settings.model_copy(update={"confirmations_per_client": 1.0})
    async with running_receiver(limited) as receiver:
        await receiver.register("order-1")
        assert (await _confirm(receiver))[0] == 200
        assert (await _confirm(receiver))[:2] == (429, "too-many-calls")


@pytest.mark.usefixtures("still_limits")
async def test_a_stranger_uses_up_no_question_of_portones(settings: Settings) -> None:
    """Limits are by order and address, and PortOne's own addresses have none: its question is always answered."""
    behind = settings.model_copy(update={"confirmations_per_client": 20.0, "trusted_proxies": ("127.0.0.0/8",)})
    async with running_receiver(behind) as receiver:
        await receiver.register("order-1")
        body = {"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": 64900}
        statuses = [await _asked_from(receiver, "203.0.113.7", body) for _ in range(20)]
        assert statuses == [200] * 10 + [429] * 10
        assert await _asked_from(receiver, "52.78.100.19", body) == 200
        for number in range(30):
            other = body | {"merchant_uid": f"order-{number}"}
            assert await _asked_from(receiver, "52.78.48.223", other) in (200, 409)


async def _asked_from(receiver: RunningService, address: str, body: Any) -> int:
    headers = {"X-Forwarded-For": address}
    return (await receiver.call("POST", "/payments/confirm", json=body, headers=headers))[0]


async def test_confirmations_have_connections_of_their_own(receiver: RunningService, pool: Pool) -> None:
    """While every other connection of the receiver is taken, PortOne is answered in time."""
    await _confirm(receiver)  # opens the connection
    async with _busy_pool(receiver, pool):
        assert [(await _confirm(receiver))[0] for _ in range(3)] == [200] * 3


@contextlib.asynccontextmanager
async def _busy_pool(receiver: RunningService, pool: Pool) -> AsyncIterator[None]:
    """Have reads and registrations hold their connections: each waits for a table that somebody has locked."""
    await receiver.register("order-1")
    async with pool.acquire() as other:
        async with other.transaction():
            await other.execute("LOCK TABLE preparations IN ACCESS EXCLUSIVE MODE")
            busy = [asyncio.create_task(receiver.call("GET", "/orders/order-1", headers=bearer())) for _ in range(20)]
            busy += [asyncio.create_task(receiver.register(f"order-{number}")) for number in range(2, 22)]

            async def all_wait() -> bool:
                waiting: int = await pool.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                return waiting >= 2

            await until(all_wait)
            yield
        await asyncio.gather(*busy)


async def test_questions_that_arrive_together_share_a_statement(receiver: RunningService, pool: Pool) -> None:
    """Forty questions at once are all answered in time, by at most the two statements that may be under way."""
    for number in range(40):
        await stored.register_order(pool, f"order-{number}")
    bodies = [{"imp_uid": "imp_1", "merchant_uid": f"order-{number}", "amount": 64900} for number in range(40)]
    began = time.monotonic()
    answers = await asyncio.gather(*(receiver.call("POST", "/payments/confirm", json=body) for body in bodies))
    assert [status for status, _ in answers] == [200] * 40
    assert time.monotonic() - began < PROMISED_SECONDS
    connections: int = await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%state, closed, %'"
    )
    assert 1 <= connections <= 3  # two statements, and this one


async def test_reasons_may_be_english(settings: Settings) -> None:
    """With CONFIRM_LANGUAGE=en the reasons are English."""
    async with running_receiver(settings.model_copy(update={"confirm_language": "en"})) as receiver:
        assert (await _confirm(receiver))[2] == "This order cannot be paid."


@contextlib.asynccontextmanager
async def _silent_server() -> AsyncIterator[str]:
    """Run a Postgres that accepts connections and never answers."""
    released = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"postgresql://user@{host}:{port}/away"
    finally:
        released.set()
        server.close()


@pytest.mark.parametrize(("when_unsure", "status"), [("refuse", 424), ("allow", 200)])
async def test_without_postgres_a_setting_decides(settings: Settings, when_unsure: str, status: int) -> None:
    """If Postgres refuses connections or is silent, CONFIRM_WHEN_UNSURE decides the answer."""
    async with _silent_server() as silent:
        for url in ("postgresql://user@127.0.0.1:1/away", silent):
            away = settings.model_copy(
                update={"database_url": type(settings.database_url)(url), "confirm_when_unsure": when_unsure}
            )
            async with running_receiver(away) as receiver:
                assert (await _confirm(receiver))[0] == status


async def test_a_locked_table_is_not_waited_for(receiver: RunningService, pool: Pool) -> None:
    """While a table is locked the call is refused in time, and afterwards answered again."""
    await receiver.register("order-1")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        assert (await _confirm(receiver))[:2] == (424, "unsure")
    assert (await _confirm(receiver))[0] == 200


@contextlib.asynccontextmanager
async def _frozen_at_will(database_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Put the database behind a network that carries bytes only while the event is set."""
    parts, flows, tasks = urlsplit(database_url), asyncio.Event(), set[asyncio.Task[None]]()
    flows.set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                await flows.wait()
                writer.write(chunk)
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        db_reader, db_writer = await asyncio.open_connection(parts.hostname, parts.port)
        tasks.update((asyncio.create_task(carry(reader, db_writer)), asyncio.create_task(carry(db_reader, writer))))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{host}:{port}").geturl(), flows
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_postgres_that_falls_silent_is_not_waited_for(settings: Settings) -> None:
    """If an open connection falls silent the call is refused in time, and afterwards answered again."""
    database_url = settings.database_url.get_secret_value()
    async with _frozen_at_will(database_url) as (url, flows):
        behind = settings.model_copy(update={"database_url": type(settings.database_url)(url)})
        async with running_receiver(behind) as receiver:
            await receiver.register("order-1")
            assert (await _confirm(receiver))[0] == 200
            flows.clear()
            assert (await _confirm(receiver))[:2] == (424, "unsure")
            flows.set()
            assert (await _confirm(receiver))[0] == 200


@dataclass
class Shop:
    """The shop's stock hook: its address, the questions that it got, and its answer."""

    answer: Callable[[], Awaitable[web.Response]]
    url: str = ""
    questions: list[Any] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.questions.append(await request.json())
        return await self.answer()


async def _answers(status: int = 200, body: Any = None) -> web.Response:
    return web.json_response(body, status=status)


async def _takes_too_long() -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


@contextlib.asynccontextmanager
async def _running_shop(answer: Callable[[], Awaitable[web.Response]]) -> AsyncIterator[Shop]:
    app, shop = web.Application(), Shop(answer)
    app.router.add_post("/stock", shop.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        shop.url = f"http://{host}:{port}/stock"
        yield shop
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _asking(settings: Settings, shop: Shop, **more: Any) -> AsyncIterator[RunningService]:
    async with running_receiver(settings.model_copy(update={"stock_hook_url": shop.url, **more})) as receiver:
        await receiver.register("order-1", 600, currency="USD")
        yield receiver


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, None, (200, None, None)),
        (204, None, (200, None, None)),
        (409, {"reason": "한 개 남았습니다."}, (409, "out-of-stock", "한 개 남았습니다.")),
        (404, None, (409, "out-of-stock", "재고가 부족합니다.")),
        (409, {"reason": "a\x00b"}, (409, "out-of-stock", "재고가 부족합니다.")),
        (409, ["reason"], (409, "out-of-stock", "재고가 부족합니다.")),
    ],
)
async def test_the_shop_is_asked_for_stock(settings: Settings, status: int, body: Any, expected: Any) -> None:
    """The shop's yes lets the payment go on, and its no stops it, with the shop's reason if it gives one."""
    async with _running_shop(lambda: _answers(status, body)) as shop, _asking(settings, shop) as receiver:
        assert await _confirm(receiver, 6) == expected
        assert shop.questions == [{"imp_uid": "imp_1", "merchant_uid": "order-1", "amount": 600, "currency": "USD"}]


async def test_the_shop_is_not_asked_about_what_is_refused_anyway(settings: Settings) -> None:
    """A wrong amount is refused without asking the shop."""
    async with _running_shop(_answers) as shop, _asking(settings, shop) as receiver:
        assert (await _confirm(receiver, 5))[1] == "not-payable"
        assert shop.questions == []


@pytest.mark.parametrize(("when_unsure", "status"), [("refuse", 424), ("allow", 200)])
@pytest.mark.parametrize(
    "answer", [lambda: _answers(500), lambda: _answers(302), lambda: _answers(429), _takes_too_long]
)
async def test_a_shop_that_does_not_answer_leaves_us_unsure(
    settings: Settings, answer: Callable[[], Awaitable[web.Response]], when_unsure: str, status: int
) -> None:
    """If the shop answers with an error, a redirect or not at all, CONFIRM_WHEN_UNSURE decides the answer."""
    async with (
        _running_shop(answer) as shop,
        _asking(settings, shop, confirm_when_unsure=when_unsure) as receiver,
    ):
        assert (await _confirm(receiver, 6))[0] == status


async def _asks(receiver: RunningService, merchant_uid: str, **headers: str) -> int:
    question = {"imp_uid": "imp_1", "merchant_uid": merchant_uid, "amount": 64900}
    return (await receiver.call("POST", "/payments/confirm", json=question, headers=headers))[0]


async def test_the_shop_is_asked_about_an_order_once_a_second(settings: Settings) -> None:
    """A stranger who asks about one order again and again shares one answer, and takes nobody's question."""
    async with _running_shop(_answers) as shop, _asking(settings, shop, stock_hook_per_second=4.0) as receiver:
        await receiver.register("order-2")
        assert await asyncio.gather(*(_asks(receiver, "order-2") for _ in range(5))) == [200] * 5
        assert len(shop.questions) == 1
        assert (await _confirm(receiver, 6))[0] == 200
        assert len(shop.questions) == 2


@pytest.mark.usefixtures("still_limits")
async def test_strangers_leave_half_of_the_questions_to_portone(settings: Settings) -> None:
    """Beyond STOCK_HOOK_PER_SECOND nobody is asked, and we are unsure; strangers' own share ends earlier."""
    more = {"stock_hook_per_second": 4.0, "trusted_proxies": ("127.0.0.0/8",)}
    stranger, portone = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "52.78.5.241"}
    async with _running_shop(_answers) as shop, _asking(settings, shop, **more) as receiver:
        for number in range(2, 10):
            await receiver.register(f"order-{number}")
        assert [await _asks(receiver, f"order-{n}", **stranger) for n in (2, 3, 4, 5)] == [200, 200, 424, 424]
        assert [await _asks(receiver, f"order-{n}", **portone) for n in (6, 7, 8)] == [200, 200, 424]
        assert len(shop.questions) == 4
