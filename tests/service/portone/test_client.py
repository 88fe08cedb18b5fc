"""The client on the wire moves bytes within bounds, and shares one token. test_client_meaning.py has the meaning."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from service.errors import NotAsked, PortOneUnavailable, UnreadableAnswer
from service.portone import client
from service.portone.client import PortOne

TOKEN = "POST /users/getToken"
ONE = "GET /payments/imp_1"
SECRET = "very-secret-secret"
FOUND = {"imp_uid": "imp_1"}


@dataclass(frozen=True)
class Call:
    """A call as it arrived at the server."""

    headers: dict[str, str]
    query: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer: a payload as JSON, or raw bytes."""

    payload: Any = None
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


Script = Answer | Callable[[Call], Answer] | asyncio.Event


class Stage:
    """A server that plays a script for each address. The last answer repeats, and an Event is waited for."""

    def __init__(self) -> None:
        self.url = ""
        self.scripts: dict[str, list[Script]] = {}
        self.calls: dict[str, list[Call]] = defaultdict(list)

    def play(self, address: str, *script: Script) -> None:
        self.scripts[address] = list(script)

    async def serve(self, request: web.BaseRequest) -> web.Response:
        address = f"{request.method} {request.raw_path.partition('?')[0]}"
        call = Call(dict(request.headers), list(request.query.items()), await request.read())
        self.calls[address].append(call)
        script = self.scripts[address]
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, asyncio.Event):
            await step.wait()
            return web.Response()
        answer = step if isinstance(step, Answer) else step(call)
        body = answer.body if answer.body is not None else orjson.dumps(answer.payload)
        return web.Response(body=body, status=answer.status, headers=answer.headers, content_type="application/json")


def _envelope(response: Any, code: int = 0) -> dict[str, Any]:
    return {"code": code, "message": None, "response": response}


def _token(name: str = "token-1", seconds: int = 1800) -> Answer:
    return Answer(_envelope({"access_token": name, "now": 1_790_000_000, "expired_at": 1_790_000_000 + seconds}))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    server = Stage()
    runner = web.ServerRunner(web.Server(server.serve), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = "http://{}:{}".format(*runner.addresses[0])
    server.play(TOKEN, _token())
    yield server
    await runner.cleanup()


@pytest.fixture
async def portone(stage: Stage) -> AsyncIterator[PortOne]:
    opened = PortOne(stage.url, "imp_key", SECRET)
    yield opened
    await opened.close()


async def test_one_token_request_is_under_way_at_a_time(stage: Stage, portone: PortOne) -> None:
    """Fifty looks at once without a token request one token, and share it."""
    stage.play(ONE, Answer(_envelope(FOUND)))
    assert await asyncio.gather(*(portone.payment("imp_1", "") for _ in range(50))) == [FOUND] * 50
    [request] = stage.calls[TOKEN]
    assert orjson.loads(request.body) == {"imp_key": "imp_key", "imp_secret": SECRET}
    assert {call.headers["Authorization"] for call in stage.calls[ONE]} == {"token-1"}


async def test_a_token_that_dies_in_flight(stage: Stage, portone: PortOne) -> None:
    """A 401 refreshes the token and repeats the call once, and fifty callers with a dead token cost one refresh."""

    def answer(call: Call) -> Answer:
        if call.headers["Authorization"] == "dead":
            return Answer(_envelope(None, -1), status=401)
        return Answer(_envelope(FOUND))

    stage.play(TOKEN, _token("dead"), _token("alive"))
    stage.play(ONE, answer)
    assert await asyncio.gather(*(portone.payment("imp_1", "") for _ in range(50))) == [FOUND] * 50
    assert len(stage.calls[TOKEN]) == 2


async def test_the_tier_header(stage: Stage, portone: PortOne) -> None:
    """A look at a sub-store's payments has its tier as a header, and other looks have no such header."""
    stage.play(ONE, Answer(_envelope(FOUND)))
    stage.play("GET /payments", Answer(_envelope([FOUND]), status=207))
    await portone.payment("imp_1", "abc")
    await portone.payment("imp_1", "")
    assert await portone.payments(["imp_1", "imp_2"], "abc") == [FOUND]
    assert [call.headers.get("Tier") for call in stage.calls[ONE]] == ["abc", None]
    [batch] = stage.calls["GET /payments"]
    assert (batch.headers["Tier"], batch.query) == ("abc", [("imp_uid[]", "imp_1"), ("imp_uid[]", "imp_2")])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(_envelope(FOUND), headers={"Content-Encoding": "gzip"}),
        Answer(_envelope(FOUND), headers={"Content-Length": "1000"}),
        Answer(body=b" " * 20 * 2**20 + orjson.dumps(_envelope(FOUND))),
    ],
    ids=["no gzip", "half a body", "too long"],
)
async def test_an_answer_that_breaks_on_the_way(stage: Stage, portone: PortOne, answer: Answer) -> None:
    """A body that is not what its headers say, and one without end, are failures to ask."""
    stage.play(ONE, answer)
    with pytest.raises(NotAsked):
        await portone.payment("imp_1", "")


async def test_a_look_is_bounded_in_time(stage: Stage, portone: PortOne, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token and call together have LOOK_SECONDS, and the token's lock is free afterwards."""
    never = asyncio.Event()
    stage.play(TOKEN, never, _token())
    stage.play(ONE, never, Answer(_envelope(FOUND)))
    with monkeypatch.context() as hurried:
        hurried.setattr(client, "LOOK_SECONDS", 0.5)
        for _ in range(2):
            with pytest.raises(PortOneUnavailable):
                await portone.payment("imp_1", "")
    assert await portone.payment("imp_1", "") == FOUND
    never.set()


async def test_a_server_that_is_not_there(stage: Stage) -> None:
    """A refused connection and an unknown host are failures to ask."""
    for url in ("http://127.0.0.1:1", "http://portone.invalid"):
        portone = PortOne(url, "imp_key", SECRET)
        with pytest.raises(PortOneUnavailable) as raised:
            await portone.payment("imp_1", "")
        assert SECRET not in str(raised.value)
        await portone.close()


async def test_an_id_cannot_leave_its_place_in_the_path(stage: Stage, portone: PortOne) -> None:
    """An id is one segment of the path, whatever it contains."""
    stage.play("GET /payments/a%2F..%2Fb", Answer(_envelope(FOUND)))
    assert await portone.payment("a/../b", "") == FOUND


async def test_calls_under_way_are_bounded(stage: Stage, portone: PortOne) -> None:
    """At most sixteen calls are under way at a time."""
    under_way, most = asyncio.Event(), client._CALLS_UNDER_WAY
    stage.play(ONE, *[under_way] * 40, Answer(_envelope(FOUND)))
    looks = [asyncio.create_task(portone.payment("imp_1", "")) for _ in range(40)]
    async with asyncio.timeout(20):
        while len(stage.calls[ONE]) < most:  # noqa: ASYNC110 - the stage's count is the signal
            await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
    assert len(stage.calls[ONE]) == most
    under_way.set()
    for look in looks:
        with pytest.raises(UnreadableAnswer):
            await look
