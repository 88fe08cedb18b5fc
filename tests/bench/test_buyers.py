"""Buyers count whole lives only, and end the run at the first wrong answer."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count, islice

import pytest
from aiohttp import web

from bench import life, load, orders
from bench.buyers import UNCONFIRMED, Buyers
from bench.measure import BenchFailed

_UNSURE_ABOUT = orders.merchant_uid(orders.FIRST_NEW + 1)


class Shop:
    """A service that remembers which orders it heard were paid."""

    def __init__(self, *, forgets: bool = False) -> None:
        self._forgets = forgets
        self.heard: Counter[int] = Counter()
        self._paid = set[str]()

    async def register(self, request: web.Request) -> web.Response:
        return web.Response(status=201)

    async def confirm(self, request: web.Request) -> web.Response:
        question = await request.json()
        return web.Response(status=424 if question["merchant_uid"] == _UNSURE_ABOUT else 200)

    async def hear(self, request: web.Request) -> web.Response:
        notice = await request.json()
        assert request.transport
        self.heard[request.transport.get_extra_info("sockname")[1]] += 1
        self._paid.add(notice["merchant_uid"])
        return web.Response()

    async def read(self, request: web.Request) -> web.Response:
        paid = request.match_info["merchant_uid"] in self._paid and not self._forgets
        return web.Response(text='{"state":"paid"}' if paid else '{"state":"pending"}')


@contextlib.asynccontextmanager
async def serving(shop: Shop) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/orders", shop.register)
    app.router.add_get("/orders/{merchant_uid}", shop.read)
    app.router.add_post("/payments/confirm", shop.confirm)
    app.router.add_post("/payment/complete", shop.hear)
    app.router.add_post("/webhooks/portone/v1", shop.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_life_that_an_unsure_confirmation_ended_is_not_counted_as_whole() -> None:
    """Of three orders, that whose confirmation is unsure is lost, and the two others live whole lives."""
    async with serving(Shop()) as port:
        lives = await Buyers(islice(count(orders.FIRST_NEW), 3), 30.0).shop(port, 2)
    assert dict(lives.statuses) == {200: 2, 424: 1}
    assert len(lives.latencies) == 2
    life.check("a life", lives)


async def test_the_two_notices_of_a_payment_reach_two_receivers() -> None:
    """Of two receivers each hears the webhook of one buyer and the completion call of the other."""
    shop = Shop()
    async with serving(shop) as one, serving(shop) as other:
        lives = await Buyers(islice(count(orders.FIRST_NEW), 2), 30.0, UNCONFIRMED).shop(one, 2, other)
    assert dict(lives.statuses) == {200: 2}
    assert shop.heard == {one: 2, other: 2}


async def test_an_order_that_is_not_paid_when_read_ends_the_run() -> None:
    """A read that does not say paid, although both notices were answered, stops all buyers with its body."""
    async with serving(Shop(forgets=True)) as port:
        lives = await Buyers(count(orders.FIRST_NEW), 30.0).shop(port, 2)
    with pytest.raises(BenchFailed, match=r"read: .*pending"):
        life.check("a life", lives)


async def test_a_refused_connection_fails_its_request_instead_of_waiting_for_it() -> None:
    """A server that closes each connection at once costs failed requests, not the time of an answer."""

    class Closing(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    server = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        sent = await load.closed_loop(port, 4, (load.get("/") for _ in count()), 30.0)
    assert dict(sent.statuses) == {0: 4}
