"""The client does each call of the service, and makes a call again that may succeed later."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from portone_orders_client import OrdersClient, Refused, Unreachable, WrongAnswer
from portone_orders_client.calls import Calls, pauses

from service.settings import Settings
from tests.running import SERVICE_KEY, running_receiver, running_worker
from tests.sandbox_client import RunningSandbox

Answers = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answers) -> AsyncIterator[str]:
    """A server that answers every request so. Yields its address."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_an_order_lives_through_the_client(settings: Settings, sandbox: RunningSandbox) -> None:
    """An order is registered, amended, paid, read, and accepted or withdrawn, each by one call."""
    async with (
        running_receiver(settings) as receiver,
        running_worker(settings),
        OrdersClient(receiver.url, SERVICE_KEY) as orders,
    ):
        registered = await orders.register("주문/1", 64900, metadata={"cart": 17})
        assert (registered.state, registered.version, registered.metadata) == ("pending", 1, {"cart": 17})
        amended = await orders.amend(registered, amount=59900)
        assert (amended.amount, amended.version) == (59900, 2)
        with pytest.raises(Refused) as stale:
            await orders.amend(registered, amount=1)
        assert stale.value.kind == "version-moved"
        await sandbox.pay("주문/1", 60000, imp_uid="imp_1")
        verified = await orders.verify("주문/1")
        assert verified is not None
        assert verified.state == "mismatched"
        accepted = await orders.accept("주문/1", "imp_1", who="kim", why="a fee was added")
        assert accepted.is_deliverable
        assert await orders.read("주문/1") == accepted
        assert accepted.payment is not None
        assert accepted.payment.amount == accepted.amount == 60000
        assert (await orders.list(states=["paid"])).orders == (accepted,)
        assert (await orders.list(merchant_uids=["order-9"], limit=1)).orders == ()
        causes = [version.evidence.cause for version in await orders.history("주문/1")]
        assert (causes[0], causes[-1], len(causes)) == ("registration", "acceptance", accepted.version)

        await orders.register("order-2", 100)
        assert (await orders.withdraw("order-2")).closed == "withdrawn"


# What a URL library could take for more or less than one part of a path.
STRANGE_NUMBERS = ("...", "../x", "x/..", "./", "//", "a//b", "%2e%2e", "%2F", "?", "#", ";", " ", "\\", "history")


async def test_every_number_is_read_as_it_was_registered(settings: Settings) -> None:
    """The client gets the order of a number and no other's, whatever the number looks like in an address."""
    async with running_receiver(settings) as receiver, OrdersClient(receiver.url, SERVICE_KEY) as orders:
        for number in STRANGE_NUMBERS:
            registered = await orders.register(number, 100)
            assert (await orders.read(number)).merchant_uid == number
            assert len(await orders.history(number)) == 1
            assert (await orders.amend(registered, amount=200)).merchant_uid == number


@pytest.mark.parametrize("number", ["", ".", ".."])
async def test_a_number_that_no_address_can_name_is_not_asked_for(number: str) -> None:
    """An order that nobody can have registered is an error of the program, said without a call."""
    async with OrdersClient("http://127.0.0.1:1", "key") as orders:
        for call in (orders.read, orders.history, orders.verify, orders.withdraw):
            with pytest.raises(ValueError, match="it cannot stand in an address"):
                await call(number)


async def test_an_answer_about_something_else_is_no_order() -> None:
    """An answer about another order, a page of orders or a redirect raises WrongAnswer, and is no order."""
    answers = [
        web.json_response({"merchant_uid": "order-2"}),
        web.json_response({"orders": [], "next": None}),
        web.Response(text="<html>", content_type="text/html"),
        web.Response(status=301, headers={"Location": "https://shop.example/"}),
    ]

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return answers.pop(0)

    async with serving(answer) as url, OrdersClient(url, "key") as orders:
        while answers:
            with pytest.raises(WrongAnswer, match="correct the service's address"):
                await orders.read("order-1")
        for call in (orders.list, orders.events, lambda: orders.verify("order-1"), lambda: orders.history("order-1")):
            answers.append(web.json_response({"order": {"merchant_uid": "order-2"}}))
            with pytest.raises(WrongAnswer, match="correct the service's address"):
                await call()


async def test_a_refusal_has_its_kind(settings: Settings) -> None:
    """A call that the service refuses, such as one with a wrong key, raises Refused with the problem's kind."""
    async with running_receiver(settings) as receiver:
        async with OrdersClient(receiver.url, SERVICE_KEY) as orders:
            with pytest.raises(Refused) as unknown:
                await orders.read("order-9")
            assert (unknown.value.status, unknown.value.kind) == (404, "order-not-registered")
        async with OrdersClient(receiver.url, "wrong") as orders:
            with pytest.raises(Refused) as keyless:
                await orders.register("order-1", 100)
            assert keyless.value.kind == "service-key"


async def test_a_call_is_made_again_with_the_same_key() -> None:
    """An answer of 503 and a broken connection are tried again, as the same call by its Idempotency-Key."""
    keys: list[str | None] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        keys.append(request.headers.get("Idempotency-Key"))
        if len(keys) == 1:
            return web.Response(status=503, headers={"Retry-After": "0"})
        if len(keys) == 2 and request.transport is not None:
            request.transport.abort()
        return web.json_response({"type": "urn:portone-orders:problem:other-terms", "detail": "No."}, status=409)

    async with serving(answer) as url, OrdersClient(url, "key") as orders:
        with pytest.raises(Refused):
            await orders.register("order-1", 100)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert keys[0]


async def test_patience_ends() -> None:
    """A service that cannot be reached, or takes calls and is silent, is given up when the patience is over."""
    silence = asyncio.Event()

    async def answer(_: web.BaseRequest) -> Any:
        await silence.wait()

    async with serving(answer) as url, ClientSession() as session, asyncio.timeout(10):
        for away, patience in (("http://127.0.0.1:1", 0.5), ("http://127.0.0.1:1", 1.5), (url, 1.0)):
            began = time.monotonic()
            with pytest.raises(Unreachable, match=f"{re.escape(away)} cannot be reached"):
                await Calls(away, "key", session).make("GET", "/orders", patience=patience)
            assert time.monotonic() - began >= patience
        silence.set()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "orders.example", "ftp://orders.example"])
async def test_what_is_no_address_is_said_at_once(url: str) -> None:
    """An address without http:// is an error of the program, and is not tried again and again."""
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        OrdersClient(url, "key")


async def test_the_service_says_how_long_to_wait() -> None:
    """Retry-After is heeded: a call whose patience is shorter gives up at once."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "20"})

    async with serving(answer) as url, ClientSession() as session, asyncio.timeout(5):
        with pytest.raises(Unreachable, match="429"):
            await Calls(url, "key", session).make("GET", "/orders", patience=10)


def test_pauses_grow_at_random_up_to_half_a_minute() -> None:
    """Each pause is at least half of its bound, which doubles up to 30 s."""
    bounds = pauses(lambda least, most: most if least == most / 2 else -1)
    assert [next(bounds) for _ in range(10)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


async def test_an_answer_that_is_no_problem_document_is_refused_too() -> None:
    """A proxy's page of 403 raises Refused, with the kind `unknown`."""

    async def answer(_: web.BaseRequest) -> Any:
        return web.Response(status=403, text="<html>", content_type="text/html")

    async with serving(answer) as url, OrdersClient(url, "key") as orders:
        with pytest.raises(Refused) as refused:
            await orders.read("order-1")
    assert (refused.value.status, refused.value.kind) == (403, "unknown")
