"""A sandbox over real HTTP, a shop that receives its webhooks, and a clock that tests can move."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.app import create_app
from sandbox.config import SandboxConfig

KEYS = {"imp_key": "imp_sandbox_key", "imp_secret": "imp_sandbox_secret"}


class Clock:
    """The sandbox's time, which stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Arrival:
    """One webhook as the shop received it."""

    path: str
    content_type: str
    body: dict[str, Any]


@dataclass
class Shop:
    """Receives webhooks on any path, in a queue that a test can wait on."""

    arrivals: asyncio.Queue[Arrival] = field(default_factory=asyncio.Queue)
    answer_status: int = 200
    url: str = ""
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Webhooks are answered when it is set."""

    def __post_init__(self) -> None:
        self.answers.set()

    async def receive(self, request: web.Request) -> web.Response:
        is_json = request.content_type == "application/json"
        body = await request.json() if is_json else dict(await request.post())
        self.arrivals.put_nowait(Arrival(request.path, request.content_type, body))
        await self.answers.wait()
        return web.Response(status=self.answer_status)

    async def next(self) -> Arrival:
        return await asyncio.wait_for(self.arrivals.get(), 20)

    def so_far(self) -> list[Arrival]:
        return [self.arrivals.get_nowait() for _ in range(self.arrivals.qsize())]


@dataclass
class Answer:
    """The answer to an HTTP call."""

    status: int
    content: Any

    @property
    def code(self) -> int:
        return int(self.content["code"])

    @property
    def response(self) -> Any:
        return self.content["response"]


@dataclass
class Caller:
    """Calls the sandbox, as PortOne's customer (`v1`) and as its puppeteer (`control`)."""

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        options.setdefault("headers", self.headers)
        async with self.session.request(method, self.url + path, **options) as answer:
            return Answer(answer.status, await answer.json())

    async def log_in(self) -> None:
        token = await self.call("POST", "/users/getToken", json=KEYS)
        self.headers = {"Authorization": token.response["access_token"]}

    async def v1(self, path: str, tier: str | None = None) -> Answer:
        headers = self.headers | ({"Tier": tier} if tier else {})
        return await self.call("GET", path, headers=headers)

    async def cancel(self, **body: Any) -> Answer:
        return await self.call("POST", "/payments/cancel", json=body)

    async def control(self, path: str, method: str = "POST", **body: Any) -> Answer:
        return await self.call(method, f"/_control/{path}", json=body)

    async def open(self, merchant_uid: str = "order-1", amount: float = 1000, **more: Any) -> str:
        opened = await self.control("payments", merchant_uid=merchant_uid, amount=amount, **more)
        assert opened.status == 201, opened.content
        return str(opened.content["imp_uid"])

    async def pay(self, merchant_uid: str = "order-1", amount: float = 1000, **more: Any) -> str:
        paid = await self.control("pay", merchant_uid=merchant_uid, amount=amount, **more)
        assert paid.status == 201, paid.content
        return str(paid.content["imp_uid"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    app = web.Application()
    app.router.add_post("/{path:.*}", shop.receive)
    server = TestServer(app)
    await server.start_server()
    shop.url = str(server.make_url("/hook"))
    yield shop
    await server.close()


@pytest.fixture
async def stranger(clock: Clock, shop: Shop) -> AsyncIterator[Caller]:
    """A caller without a token."""
    server = TestServer(create_app(SandboxConfig(webhook_url=shop.url), clock))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield Caller(session, str(server.make_url("")).rstrip("/"))
    await server.close()


@pytest.fixture
async def portone(stranger: Caller) -> Caller:
    """A caller with a live token."""
    await stranger.log_in()
    return stranger
