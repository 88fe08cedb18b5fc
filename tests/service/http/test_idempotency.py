"""A call that is repeated with its Idempotency-Key gets its first answer again, and runs once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from service.db import idempotency_keys
from service.db.pool import Pool, in_transaction
from service.errors import PostgresUnavailable
from service.settings import Settings
from service.usecases import idempotency
from service.usecases.registration import Registration
from tests.running import PATIENT, RunningService, bearer, running_receiver
from tests.sandbox_client import RunningSandbox
from tests.service import stored
from tests.service.conftest import Logged
from workers.parts import Parts
from workers.tasks import prune
from workers.verify import PARTS

KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
ORDER = {"merchant_uid": "order-1", "amount": 64900}
PROBLEM = "urn:portone-orders:problem:"

Answer = tuple[int, dict[str, Any], dict[str, str]]


async def _call(
    service: RunningService, method: str, path: str, key: str | None = KEY, *, json: Any = None, **headers: str
) -> Answer:
    """Make a call with the key; return the status, the body and the headers."""
    sent = bearer() | headers | ({} if key is None else {"Idempotency-Key": key})
    async with service.session.request(method, service.url + path, json=json, headers=sent) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


def _kind(answer: Answer) -> tuple[int, str]:
    return answer[0], str(answer[1].get("type", "")).removeprefix(PROBLEM)


async def _is_replayed(service: RunningService, first: Answer, *call: Any, **options: Any) -> None:
    again = await _call(service, *call, **options)
    assert again[:2] == first[:2]
    assert (first[2].get("Idempotency-Replayed"), again[2].get("Idempotency-Replayed")) == (None, "true")
    assert again[2]["Content-Type"] == first[2]["Content-Type"]
    assert again[2].get("ETag") == first[2].get("ETag")


async def test_every_write_is_replayed(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """Each endpoint that writes gives its first answer again, though the order has moved on meanwhile."""
    body = {"orders": [ORDER, {"merchant_uid": "order-2", "amount": 0}]}
    headers = {"If-Match": '"1"'}
    accepted = {"imp_uid": "imp_1", "who": "kim", "why": "as agreed"}
    calls: list[tuple[str, str, Any, dict[str, str], int]] = [
        ("POST", "/orders", ORDER, {}, 201),
        ("POST", "/orders:batch", body, {}, 200),
        ("PATCH", "/orders/order-1", {"amount": 100}, headers, 200),
        ("PATCH", "/orders/order-1", {"amount": 200}, headers, 412),
        ("POST", "/orders/order-1/verify", None, PATIENT, 200),
        ("POST", "/orders/order-1/accept", accepted, {}, 409),
        ("POST", "/orders/order-1/withdraw", {}, PATIENT, 200),
        ("POST", "/orders/order-9/withdraw", None, PATIENT, 404),
    ]
    answers = []
    for number, (method, path, json, sent, status) in enumerate(calls):
        answer = await _call(service, method, path, f'"{number}"', json=json, **sent)
        assert answer[0] == status, answer
        answers.append(answer)
    versions = await stored.events(pool, "order-1")
    for number, (method, path, json, sent, _) in enumerate(calls):
        await _is_replayed(service, answers[number], method, path, f'"{number}"', json=json, **sent)
    assert await stored.events(pool, "order-1") == versions == [(1, "pending"), (2, "pending"), (3, "pending")]
    assert await stored.count(pool, "idempotency_keys") == len(calls)


async def test_a_forced_withdrawal_is_read_whole(receiver: RunningService) -> None:
    """The body of a call with a key reaches its handler: a withdrawal that is forced asks nobody."""
    await receiver.register("order-1")
    force = {"force": True, "who": "kim", "why": "the buyer called"}
    first = await _call(receiver, "POST", "/orders/order-1/withdraw", json=force)
    assert (first[0], first[1]["closed"]) == (200, "withdrawn")
    await _is_replayed(receiver, first, "POST", "/orders/order-1/withdraw", json=force)


async def test_another_call(receiver: RunningService, pool: Pool) -> None:
    """A key that comes again with another body, address, method or If-Match is refused with 422, and runs nothing."""
    await _call(receiver, "POST", "/orders", json=ORDER)
    amount = {"amount": 100}
    for method, path, json, headers in (
        ("POST", "/orders", ORDER | {"amount": 1}, {}),
        ("POST", "/orders:batch", {"orders": [ORDER]}, {}),
        ("PATCH", "/orders/order-1", amount, {"If-Match": '"1"'}),
    ):
        answer = await _call(receiver, method, path, json=json, **headers)
        assert _kind(answer) == (422, "idempotency-key-reused")
    assert (await _call(receiver, "PATCH", "/orders/order-1", "p", json=amount, **{"If-Match": '"7"'}))[0] == 412
    answer = await _call(receiver, "PATCH", "/orders/order-1", "p", json=amount, **{"If-Match": '"1"'})
    assert _kind(answer) == (422, "idempotency-key-reused")
    assert await stored.events(pool, "order-1") == [(1, "pending")]


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", KEY),
        ('  "a"  ', "a"),
        ('"a b"', '"a b"'),
        ('"a";v=1', '"a"'),
        (r'"a\"b\\c"', r'"a\"b\\c"'),
        ('"' + "k" * 255 + '"', "k" * 255),
        ("a.b_c~d:e/f+g=h", '"a.b_c~d:e/f+g=h"'),
    ],
)
async def test_a_key_with_and_without_quotes(receiver: RunningService, key: str, same: str) -> None:
    """A key is a quoted text as the draft has it, or a bare one, and means the same either way."""
    first = await _call(receiver, "POST", "/orders", key, json=ORDER)
    assert first[0] == 201
    await _is_replayed(receiver, first, "POST", "/orders", same, json=ORDER)


@pytest.mark.parametrize("key", ["", '""', '"a', 'a"', "a b", "a,b", '"a", "b"', '"é"', "é", "k" * 256, r'"a\b"'])
async def test_a_malformed_key(receiver: RunningService, pool: Pool, key: str) -> None:
    """A key that is empty, too long or not one text is refused, and nothing runs."""
    assert _kind(await _call(receiver, "POST", "/orders", key, json=ORDER)) == (400, "malformed-idempotency-key")
    assert await stored.count(pool, "orders") == 0


async def test_two_keys(receiver: RunningService, pool: Pool) -> None:
    """Two headers are refused: nobody knows which one is meant."""
    headers = [*bearer().items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    status, _ = await receiver.call("POST", "/orders", json=ORDER, headers=headers)
    assert (status, await stored.count(pool, "orders")) == (400, 0)


async def test_keys_of_two_services(settings: Settings, pool: Pool) -> None:
    """The keys of one service are not another's, and neither text is stored."""
    two = settings.model_copy(update={"service_keys": (*settings.service_keys, type(settings.redis_url)("other-key"))})
    async with running_receiver(two) as receiver:
        assert (await _call(receiver, "POST", "/orders", json=ORDER))[0] == 201
        status, body, _ = await _call(receiver, "POST", "/orders", json=ORDER, Authorization="Bearer other-key")
        assert (status, body["merchant_uid"]) == (200, "order-1")
        assert _kind(await _call(receiver, "POST", "/orders", json=ORDER, Authorization="Bearer x")) == (
            401, "service-key",
        )  # fmt: skip
    rows = await pool.fetch("SELECT * FROM idempotency_keys")
    assert len(rows) == 2
    assert not any(secret in repr(tuple(row)) for row in rows for secret in ("8e03978e", "test-service-key"))


async def test_many_at_once_run_once(receiver: RunningService, pool: Pool) -> None:
    """Of many calls at once with one key, one runs; the others are told to wait, or get its answer."""
    answers = await asyncio.gather(*(_call(receiver, "POST", "/orders", json=ORDER) for _ in range(30)))
    ran = [answer for answer in answers if answer[0] == 201 and "Idempotency-Replayed" not in answer[2]]
    assert len(ran) == 1
    for answer in answers:
        if answer[0] == 201:
            assert answer[1] == ran[0][1]
        else:
            assert _kind(answer) == (409, "idempotency-key-in-use")
            assert "Retry-After" in answer[2]
    await _is_replayed(receiver, ran[0], "POST", "/orders", json=ORDER)


async def test_two_receivers(settings: Settings, pool: Pool) -> None:
    """Calls with one key at two receivers run once too, and each receiver gives the other's answer again."""
    async with running_receiver(settings) as one, running_receiver(settings) as other:
        for number in range(10):
            order, key = {"merchant_uid": f"order-{number}", "amount": 64900}, f"key-{number}"
            calls = (_call(receiver, "POST", "/orders", key, json=order) for receiver in (one, other) * 4)
            answers = await asyncio.gather(*calls)
            ran = [answer for answer in answers if answer[0] == 201 and "Idempotency-Replayed" not in answer[2]]
            assert len(ran) == 1
            for receiver in (one, other):
                await _is_replayed(receiver, ran[0], "POST", "/orders", key, json=order)
    assert await stored.count(pool, "order_events") == 10


async def test_what_is_not_final_runs_again(service: RunningService, sandbox: RunningSandbox, pool: Pool) -> None:
    """An answer of 503 or 202 is not kept: the same call runs again, and then its final answer is."""
    await service.register("order-1")
    await sandbox.faults(api_answer="503")
    withdraw = ("POST", "/orders/order-1/withdraw", "w")
    verify = ("POST", "/orders/order-1/verify", "v")
    assert _kind(await _call(service, *withdraw, Prefer="wait=1")) == (503, "portone-not-asked")
    assert (await _call(service, *verify, Prefer="wait=0"))[0] == 202
    assert await stored.count(pool, "idempotency_keys") == 0
    await sandbox.faults()
    first = await _call(service, *withdraw, **PATIENT)
    assert first[0] == 200
    await _is_replayed(service, first, *withdraw, Prefer="wait=1")
    assert (await _call(service, *verify, **PATIENT))[0] == 200


async def test_a_process_that_died(receiver: RunningService, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose process died before its answer was kept runs again after 30 s, and finds its work done."""

    async def died(db: Any, answered: Any) -> None:
        raise PostgresUnavailable

    await receiver.register("order-1")
    with monkeypatch.context() as patch:
        patch.setattr(idempotency_keys, "end", died)
        first = await _call(receiver, "PATCH", "/orders/order-1", json={"amount": 100}, **{"If-Match": '"1"'})
    assert (first[0], first[1]["version"]) == (200, 2)
    again = ("PATCH", "/orders/order-1")
    assert _kind(await _call(receiver, *again, json={"amount": 100}, **{"If-Match": '"1"'})) == (
        409, "idempotency-key-in-use",
    )  # fmt: skip
    until = await pool.fetchval("SELECT claimed_until - now() FROM idempotency_keys")
    assert timedelta() < until <= timedelta(seconds=30)
    await pool.execute("UPDATE idempotency_keys SET claimed_until = now() - interval '1 second'")
    second = await _call(receiver, *again, json={"amount": 100}, **{"If-Match": '"1"'})
    assert (second[:2], "Idempotency-Replayed" in second[2]) == (first[:2], False)
    await _is_replayed(receiver, second, *again, json={"amount": 100}, **{"If-Match": '"1"'})
    assert len(await stored.events(pool, "order-1")) == 2


async def test_a_late_answer_of_an_older_claim(pool: Pool) -> None:
    """A call that ran longer than its claim cannot overwrite the answer of the one that took over."""
    call = idempotency_keys.CallKey(b"i" * 32, b"f" * 32)
    lease, kept = timedelta(seconds=30), timedelta(days=1)
    old = (await in_transaction(pool, idempotency_keys.claim, [call], lease, kept))[call]
    assert isinstance(old, idempotency_keys.CallClaim)
    await pool.execute("UPDATE idempotency_keys SET claimed_until = now() - interval '1 second'")
    new = (await in_transaction(pool, idempotency_keys.claim, [call], lease, kept))[call]
    assert isinstance(new, idempotency_keys.CallClaim)
    answer = idempotency_keys.FirstAnswer(200, {}, b"new")
    await in_transaction(pool, idempotency_keys.give_back, [old])
    await in_transaction(pool, idempotency_keys.end, [(old, idempotency_keys.FirstAnswer(200, {}, b"old"))])
    await in_transaction(pool, idempotency_keys.end, [(new, answer)])
    await in_transaction(pool, idempotency_keys.end, [(old, idempotency_keys.FirstAnswer(200, {}, b"old"))])
    assert (await in_transaction(pool, idempotency_keys.claim, [call], lease, kept))[call] == answer


async def test_calls_of_one_batch(pool: Pool) -> None:
    """Of calls that arrive together with one key, the first may run, the same ones wait and another is refused."""
    lease, kept = timedelta(seconds=30), timedelta(days=1)
    one, other = (idempotency_keys.CallKey(b"i" * 32, text * 32) for text in (b"f", b"g"))
    found = await in_transaction(pool, idempotency_keys.claim, [one, other], lease, kept)
    assert isinstance(found[one], idempotency_keys.CallClaim)
    assert found[other] == idempotency_keys.Taken(by_same=False)
    found = await in_transaction(pool, idempotency_keys.claim, [other, one], lease, kept)
    assert (found[one], found[other]) == (
        idempotency_keys.Taken(by_same=True), idempotency_keys.Taken(by_same=False),
    )  # fmt: skip


async def test_a_key_is_forgotten_after_a_day(receiver: RunningService, pool: Pool) -> None:
    """A day later the same key is a new one, for the same call or another."""
    await _call(receiver, "POST", "/orders", json=ORDER)
    await pool.execute("UPDATE idempotency_keys SET claimed_at = claimed_at - interval '24 hours'")
    other = ORDER | {"merchant_uid": "order-2"}
    assert (await _call(receiver, "POST", "/orders", json=other))[0] == 201
    assert _kind(await _call(receiver, "POST", "/orders", json=ORDER)) == (422, "idempotency-key-reused")


async def test_old_keys_are_pruned(receiver: RunningService, pool: Pool, parts: Parts, monkeypatch: Any) -> None:
    """The worker deletes keys of more than a day and, of too many, the oldest."""
    for number in range(5):
        await _call(receiver, "POST", "/orders", f"k{number}", json=ORDER | {"merchant_uid": f"order-{number}"})
    await pool.execute(
        "UPDATE idempotency_keys SET claimed_at = claimed_at - interval '25 hours'"
        " WHERE id IN (SELECT id FROM idempotency_keys ORDER BY claimed_at LIMIT 2)"
    )
    await prune({PARTS: parts})
    assert await stored.count(pool, "idempotency_keys") == 3
    monkeypatch.setattr("workers.tasks._IDEMPOTENCY_KEYS_MAX", 1)
    await prune({PARTS: parts})
    assert await stored.count(pool, "idempotency_keys") == 2
    status, _, headers = await _call(receiver, "POST", "/orders", "k4", json=ORDER | {"merchant_uid": "order-4"})
    assert (status, headers["Idempotency-Replayed"]) == (201, "true")


async def test_a_batch_that_was_refused_in_part_runs_again(
    receiver: RunningService, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch with an order that is to be sent again is not kept, so that sending it again registers that order."""
    batch = {"orders": [ORDER, {"merchant_uid": "order-2", "amount": 1}]}

    async def half(self: Any, order: Any) -> Any:
        if order.terms.merchant_uid == "order-2":
            raise PostgresUnavailable
        return await whole(self, order)

    whole = Registration.register
    with monkeypatch.context() as patch:
        patch.setattr(Registration, "register", half)
        _, body, _ = await _call(receiver, "POST", "/orders:batch", json=batch)
    assert [result["status"] for result in body["results"]] == [201, 503]
    _, body, _ = await _call(receiver, "POST", "/orders:batch", json=batch)
    assert [result["status"] for result in body["results"]] == [200, 201]
    assert await stored.count(pool, "idempotency_keys") == 1


async def test_an_answer_that_cannot_be_kept(
    receiver: RunningService, pool: Pool, monkeypatch: pytest.MonkeyPatch, logged: Any
) -> None:
    """The caller gets the answer to work that is done, also if it could not be kept."""
    lines: Logged = logged(idempotency)

    async def away(db: Any, answered: Any) -> None:
        raise PostgresUnavailable

    monkeypatch.setattr(idempotency_keys, "end", away)
    assert (await _call(receiver, "POST", "/orders", json=ORDER))[0] == 201
    assert len(lines.of("idempotency.not_kept")) == 1
    assert await stored.count(pool, "orders") == 1


async def test_without_a_key_nothing_is_written(receiver: RunningService, pool: Pool) -> None:
    """A call without the header costs no statement, and leaves no row."""
    assert (await _call(receiver, "POST", "/orders", None, json=ORDER))[0] == 201
    assert (await _call(receiver, "POST", "/orders", None, json=ORDER))[0] == 200
    assert await stored.count(pool, "idempotency_keys") == 0
    _, page = await receiver.call("GET", "/metrics", headers=bearer())
    assert 'work_items_total{work="idempotency_claims"} 0.0' in page
