"""Other services follow the feed of order changes, page by page or as a stream, and wait for a change of one order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import asyncpg
import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout

from service.settings import Settings
from tests.running import RunningService, bearer, patient_worker, running_receiver, until, waits
from tests.sandbox_client import RunningSandbox
from tests.service.http.refusals import is_problem

# Longer than any test waits, so that only a change can have ended the wait.
WAITS = {"wait": "60"}


@pytest.fixture
async def receiver(settings: Settings) -> AsyncIterator[RunningService]:
    async with running_receiver(settings) as running:
        yield running


def refused(answer: tuple[int, Any], status: int, kind: str) -> None:
    is_problem(*answer, status)
    assert answer[1]["type"] == f"urn:portone-orders:problem:{kind}"


async def _page(receiver: RunningService, after: str | None = None, **query: Any) -> tuple[list[dict[str, Any]], str]:
    status, body = await receiver.call(
        "GET", "/events", params=query | ({"after": after} if after else {}), headers=bearer()
    )
    assert status == 200, body
    return body["events"], body["next"]


async def _all(receiver: RunningService, after: str | None = None, **query: Any) -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = []
    while True:
        events, following = await _page(receiver, after, **query)
        if following == after:
            return every
        every += events
        after = following


def _brief(events: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(event["merchant_uid"], event["type"], event["version"]) for event in events]


async def test_the_feed_has_every_change_in_order(
    settings: Settings, sandbox: RunningSandbox, receiver: RunningService
) -> None:
    """From the beginning a follower gets each change once, with the order's facts as they were then."""
    async with patient_worker(settings):
        await receiver.register("order-1")
        await sandbox.pay("order-1", 64900, imp_uid="imp_1")
        assert (await receiver.decided("imp_1", "order-1"))[0] == 200
    events = await _all(receiver)
    assert _brief(events) == [("order-1", "order.registered", 1), ("order-1", "order.paid", 2)]
    paid = events[-1]
    assert paid | {"id": "", "at": ""} == {
        "id": "", "type": "order.paid", "merchant_uid": "order-1", "version": 2, "state": "paid", "amount": 64900,
        "currency": "KRW", "paid_amount": 64900, "cancelled_amount": 0, "imp_uid": "imp_1", "problems": [],
        "closed": None, "at": "",
    }  # fmt: skip


async def test_each_page_goes_on_after_the_last(receiver: RunningService) -> None:
    """Any event's id is a cursor, whether its events are in memory or must be read from Postgres."""
    for n in range(7):
        await receiver.register(f"before-{n}")
    await _page(receiver, "now")
    for n in range(7):
        await receiver.register(f"after-{n}")
    every = await _all(receiver)
    assert len(every) == 14
    for limit in ("1", "3", "14", "500"):
        assert await _all(receiver, limit=limit) == every
    for n in (0, 5, 6, 7, 12, 13):
        assert await _all(receiver, every[n]["id"], limit="2") == every[n + 1 :]


async def test_now_is_the_newest(receiver: RunningService) -> None:
    """A follower that begins now gets what comes from then on, and none of the past."""
    await receiver.register("order-1")
    events, cursor = await _page(receiver, "now")
    assert events == []
    await receiver.register("order-2")
    assert _brief(await _all(receiver, cursor)) == [("order-2", "order.registered", 1)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"merchant_uid": "order-1"}, ["order-1", "order-1"]),
        ([("merchant_uid", "order-1"), ("merchant_uid", "order-2")], ["order-1", "order-2", "order-1"]),
        ({"type": "order.amended"}, ["order-1"]),
        ({"state": "pending", "type": "order.registered"}, ["order-1", "order-2"]),
        ({"state": "paid"}, []),
        ({"account": "default", "type": "order.amended"}, ["order-1"]),
        ({"account": "other"}, []),
    ],
)
@pytest.mark.parametrize("past", [True, False])
async def test_filters(receiver: RunningService, query: Any, names: list[str], *, past: bool) -> None:
    """Only wanted events are shown, and the cursor passes the others."""
    if not past:
        await _page(receiver, "now")
    await receiver.register("order-1")
    await receiver.register("order-2")
    await _amend(receiver, "order-1")
    _, newest = await _page(receiver, "now")
    status, body = await receiver.call("GET", "/events", params=query, headers=bearer())
    assert (status, [event["merchant_uid"] for event in body["events"]]) == (200, names)
    assert body["next"] == newest


async def _amend(receiver: RunningService, merchant_uid: str, amount: int = 100) -> None:
    status, body = await receiver.call(
        "PATCH", f"/orders/{merchant_uid}", json={"amount": amount}, headers=bearer() | {"If-Match": "*"}
    )
    assert status == 200, body


BAD_QUERIES = [
    {"after": "5"},
    {"after": "evt_"},
    {"after": "evt_01"},
    {"after": "evt_fffffffffffffffff"},
    {"after": "then"},
    {"limit": "0"},
    {"limit": "501"},
    {"limit": "ten"},
    {"limit": "1e1"},
    {"wait": "61"},
    {"wait": "-1"},
    {"wait": "nan"},
    {"state": "payed"},
    {"type": "order.payed"},
    {"merchant_uid": ""},
    {"merchant_uid": "\x01"},
    {"account": ""},
    {"cursor": "evt_1"},
    {"a\x01b": "1"},
    [("limit", "1"), ("limit", "2")],
    [("state", "paid")] * 101,
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=lambda query: str(query)[:40])
async def test_a_wrong_query_is_refused(receiver: RunningService, query: Any) -> None:
    """Each mistake is answered 400 with one sentence that names the parameter."""
    answer = await receiver.call("GET", "/events", params=query, headers=bearer())
    refused(answer, 400, "invalid-parameters")


async def test_a_cursor_of_another_database_is_refused(receiver: RunningService) -> None:
    """A cursor beyond all events is not waited for, because its follower would miss what comes before it."""
    await receiver.register("order-1")
    answer = await receiver.call("GET", "/events", params={"after": "evt_ffffff"}, headers=bearer())
    refused(answer, 400, "unknown-cursor")


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
async def test_a_key_is_needed(receiver: RunningService, path: str) -> None:
    """Nobody follows without a service key."""
    refused(await receiver.call("GET", path), 401, "service-key")


async def test_waiting_is_ended_by_a_change(receiver: RunningService) -> None:
    """A follower that waits is answered as soon as there is something for it, in each of several ways to change."""
    _, cursor = await _page(receiver, "now")
    await receiver.register("other")
    waiting = asyncio.create_task(_page(receiver, cursor, merchant_uid="order-1", **WAITS))
    await receiver.register("order-1")
    events, cursor = await waiting
    assert _brief(events) == [("order-1", "order.registered", 1)]
    waiting = asyncio.create_task(_page(receiver, cursor, **WAITS))
    await _amend(receiver, "order-1")
    events, cursor = await waiting
    assert _brief(events) == [("order-1", "order.amended", 2)]
    waiting = asyncio.create_task(_page(receiver, cursor, **WAITS))
    force = {"force": True, "who": "kim", "why": "as agreed"}
    await receiver.call("POST", "/orders/order-1/withdraw", json=force, headers=bearer())
    assert _brief((await waiting)[0]) == [("order-1", "order.withdrawn", 3)]


async def test_waiting_without_a_change(receiver: RunningService) -> None:
    """When the wait is over the page is empty, and its cursor goes on."""
    _, cursor = await _page(receiver, "now")
    assert await _page(receiver, cursor, wait="0.05") == ([], cursor)


async def test_a_change_that_nobody_announced(receiver: RunningService, settings: Settings, pool: Any) -> None:
    """Where no message comes, because its sender was killed or Redis is away, waiting calls find the change."""
    order = await receiver.register("order-1")
    _, cursor = await _page(receiver, "now")
    waiting = asyncio.create_task(_page(receiver, cursor, **WAITS))
    reading = asyncio.create_task(_wait_for_change(receiver, "order-1", order["version"]))
    await asyncio.sleep(0.05)
    await pool.execute(
        """
        WITH changed AS (UPDATE orders SET version = 2, name = 'unheard of' RETURNING *)
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        SELECT merchant_uid, version, state, amount, currency, 0, 0, '[]', 'amendment' FROM changed
        """
    )
    assert _brief((await waiting)[0]) == [("order-1", "order.amended", 2)]
    assert (await reading)[1]["name"] == "unheard of"


async def _wait_for_change(receiver: RunningService, merchant_uid: str, version: int) -> tuple[int, Any]:
    headers = bearer() | {"Prefer": "wait=60", "If-None-Match": f'"{version}"'}
    async with receiver.session.get(f"{receiver.url}/orders/{quote(merchant_uid, safe='')}", headers=headers) as answer:
        assert answer.headers["Preference-Applied"] == "wait=60"
        return answer.status, await answer.json()


async def test_a_read_waits_for_the_next_change(receiver: RunningService) -> None:
    """A caller that has an order's version and waits gets its next one, and is not woken by another order."""
    await receiver.register("order-1")
    await receiver.register("order-2")
    waiting = [asyncio.create_task(_wait_for_change(receiver, "order-1", 1)) for _ in range(50)]
    await until(lambda: waits(receiver, "waiting_reads", 50))
    await _amend(receiver, "order-2")
    await _amend(receiver, "order-1", 200)
    assert {(status, body["version"], body["amount"]) for status, body in await asyncio.gather(*waiting)} == {
        (200, 2, 200)
    }


async def test_a_read_does_not_wait_for_what_it_can_have(receiver: RunningService) -> None:
    """Another version than the caller's is answered at once; at the end of the wait it is 304."""
    await receiver.register("order-1")
    status, body = await _wait_for_change(receiver, "order-1", 7)
    assert (status, body["version"]) == (200, 1)
    headers = bearer() | {"Prefer": "wait=1", "If-None-Match": '"1"'}
    async with receiver.session.get(f"{receiver.url}/orders/order-1", headers=headers) as answer:
        assert (answer.status, answer.headers["Preference-Applied"], answer.headers["ETag"]) == (304, "wait=1", '"1"')
    async with receiver.session.get(
        f"{receiver.url}/orders/order-1", headers=bearer() | {"Prefer": "wait=9"}
    ) as answer:
        assert (answer.status, "Preference-Applied" in answer.headers) == (200, False)
    refused(await receiver.call("GET", "/orders/order-9", headers=headers), 404, "order-not-registered")
    async with receiver.session.get(
        f"{receiver.url}/orders/order-1", headers=headers | {"Prefer": "respond-async, WAIT=1"}
    ) as answer:
        assert (answer.status, answer.headers["Preference-Applied"]) == (304, "wait=1")  # names have no case (RFC 7240)


async def test_more_than_the_bound_are_told_to_come_again(settings: Settings) -> None:
    """Beyond their bounds neither reads nor followers wait, and a stream is not begun."""
    bounded = settings.model_copy(update={"read_waiters": 1, "feed_followers": 1})
    async with running_receiver(bounded) as receiver:
        await receiver.register("order-1")
        _, cursor = await _page(receiver, "now")
        waiting = [
            asyncio.create_task(_wait_for_change(receiver, "order-1", 1)),
            asyncio.create_task(_page(receiver, cursor, **WAITS)),
        ]
        await until(lambda: waits(receiver, "waiting_reads", 1))
        await until(lambda: waits(receiver, "followers", 1))
        headers = bearer() | {"Prefer": "wait=60", "If-None-Match": '"1"'}
        refused(await receiver.call("GET", "/orders/order-1", headers=headers), 503, "overloaded")
        params = {"after": cursor} | WAITS
        refused(await receiver.call("GET", "/events", params=params, headers=bearer()), 503, "overloaded")
        refused(await receiver.call("GET", "/events/stream", headers=bearer()), 503, "overloaded")
        await _amend(receiver, "order-1")
        await asyncio.gather(*waiting)


async def test_whoever_leaves_gives_the_place_away(receiver: RunningService) -> None:
    """A wait ends when its caller's connection does, however long it would have lasted."""
    await receiver.register("order-1")
    _, cursor = await _page(receiver, "now")
    async with ClientSession() as leaves:
        left = RunningService(receiver.url, leaves)
        waiting = [
            asyncio.create_task(_wait_for_change(left, "order-1", 1)),
            asyncio.create_task(_page(left, cursor, **WAITS)),
        ]
        async with _stream(left, after="now"):
            await until(lambda: waits(receiver, "followers", 2))
            await until(lambda: waits(receiver, "waiting_reads", 1))
            for task in waiting:
                task.cancel()
    await until(lambda: waits(receiver, "followers", 0))
    await until(lambda: waits(receiver, "waiting_reads", 0))


async def test_a_writer_that_stays_open_raises_an_alarm(settings: Settings) -> None:
    """A transaction that holds the feed back is measured and breaks the promise, and nothing is missed by it."""
    strict = settings.model_copy(update={"promise_feed_lag_seconds": 0.1})
    async with running_receiver(strict) as receiver:
        await receiver.register("order-1")
        _, cursor = await _page(receiver, "now")
        writer = await asyncpg.connect(settings.database_url.get_secret_value())
        try:
            await writer.execute("BEGIN; UPDATE order_events SET who = who WHERE false")
            await receiver.register("order-2")
            waiting = asyncio.create_task(_page(receiver, cursor, **WAITS))
            await until(lambda: _breaks(receiver))
            assert (await receiver.read("order-2"))["version"] == 1
            _, page = await receiver.call("GET", "/metrics", headers=bearer())
            assert float(page.partition("\nportone_orders_feed_lag_seconds ")[2].partition("\n")[0]) > 0.1
            assert not waiting.done()
        finally:
            await writer.close()
        assert _brief((await waiting)[0]) == [("order-2", "order.registered", 1)]
        status, body = await receiver.call("GET", "/healthz/promise", headers=bearer())
        assert (status, body["feed_lag_seconds"]) == (200, 0.0)


async def _breaks(receiver: RunningService) -> bool:
    status, body = await receiver.call("GET", "/healthz/promise", headers=bearer())
    return status == 503 and body["broken"] == ["the feed has held an event back for 0 s"]


async def test_those_who_wait_are_answered_when_the_receiver_stops(settings: Settings) -> None:
    """A receiver that stops answers all who wait at once, and ends its streams with a cursor."""
    async with contextlib.AsyncExitStack() as stack:
        running = running_receiver(settings)
        started = await running.__aenter__()
        receiver = RunningService(started.url, await stack.enter_async_context(ClientSession()))
        token = (await receiver.register("order-1"))["checkout_token"]
        headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=60", "If-None-Match": '"1"'}
        paying = asyncio.create_task(receiver.call("GET", "/checkout/order-1", headers=headers))
        _, cursor = await _page(receiver, "now")
        stream = await stack.enter_async_context(
            receiver.session.get(f"{receiver.url}/events/stream", params={"after": "now"}, headers=bearer())
        )
        headers = bearer() | {"Prefer": "wait=60", "If-None-Match": '"1"'}
        reading = asyncio.create_task(receiver.call("GET", "/orders/order-1", headers=headers))
        waiting = asyncio.create_task(_page(receiver, cursor, **WAITS))
        await until(lambda: waits(receiver, "followers", 2))
        await until(lambda: waits(receiver, "waiting_reads", 1))
        stopping = asyncio.create_task(running.__aexit__(None, None, None))
        assert await waiting == ([], cursor)
        assert [(await reading)[0], (await paying)[0]] == [304, 304]
        assert [event async for event in _streamed(stream)] == [
            ("end", cursor, {"next": cursor, "why": "The service restarts."})
        ]
        await stopping


async def _streamed(answer: ClientResponse) -> AsyncIterator[tuple[str, str, Any]]:
    """Yield each event of a stream as (event, id, data)."""
    fields = {"event": "message"}
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name and name != ":":
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields["id"], orjson.loads(fields["data"])
            fields = {"event": "message", "id": fields["id"]}


def _stream(receiver: RunningService, last: str | None = None, **query: str) -> Any:
    headers = bearer() | ({"Last-Event-ID": last} if last else {})
    return receiver.session.get(
        f"{receiver.url}/events/stream", params=query, headers=headers, timeout=ClientTimeout(total=60)
    )


async def test_the_stream_has_what_the_pages_have(receiver: RunningService) -> None:
    """A stream sends the past, then each change as it comes, and goes on after Last-Event-ID."""
    await receiver.register("order-1")
    async with _stream(receiver) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = _streamed(answer)
        first = await anext(events)
        await receiver.register("order-2")
        second = await anext(events)
    every = await _all(receiver)
    assert [(kind, event) for kind, _, event in (first, second)] == [("message", event) for event in every]
    assert [cursor for _, cursor, _ in (first, second)] == [event["id"] for event in every]
    async with _stream(receiver, last=first[1], after="now") as answer:
        assert await anext(_streamed(answer)) == second
    async with _stream(receiver, merchant_uid="order-2") as answer:
        assert await anext(_streamed(answer)) == second


async def test_a_wrong_last_event_id_is_refused(receiver: RunningService) -> None:
    """A Last-Event-ID that is no event's is answered 400."""
    headers = bearer() | {"Last-Event-ID": "7"}
    refused(await receiver.call("GET", "/events/stream", headers=headers), 400, "invalid-parameters")


async def test_a_silent_stream_says_that_it_lives(receiver: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat has the newest cursor, so that a reader of few events does not begin far behind."""
    monkeypatch.setattr("service.http.events._BEAT_SECONDS", 0.05)
    async with _stream(receiver, after="now", state="paid") as answer:
        await receiver.register("order-1")
        _, newest = await _page(receiver, "now")
        async for line in answer.content:
            if line.decode() == f"id: {newest}\n":
                break


async def test_a_slow_reader_is_cut_off_with_a_cursor(
    receiver: RunningService, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that takes nothing is told where to go on, holds a bounded buffer, and misses nothing."""
    monkeypatch.setattr("service.http.events._SLOW_SECONDS", 0.2)
    await pool.execute(
        """
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  problems, cause)
        SELECT repeat('x', 200) || n, 1, 'pending', 1, 'KRW', 0, 0, '[]', 'registration'
        FROM generate_series(1, 20000) AS n
        """
    )
    async with _stream(receiver) as answer:
        assert answer.connection is not None
        answer.connection.transport.pause_reading()
        await until(lambda: waits(receiver, "followers", 0))
        answer.connection.transport.resume_reading()
        *messages, end = [sent async for sent in _streamed(answer)]
    read = [event for _, _, event in messages]
    assert 0 < len(read) < 20_000
    assert end == ("end", read[-1]["id"], {"next": read[-1]["id"], "why": "The stream was read too slowly."})
    rest = await _all(receiver, read[-1]["id"], limit="500")
    assert [event["merchant_uid"] for event in [*read, *rest]] == [f"{'x' * 200}{n}" for n in range(1, 20_001)]
