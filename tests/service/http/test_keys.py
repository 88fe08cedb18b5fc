"""Service keys have scopes, an expiry and an end, and a wrong one learns and costs nothing."""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType

import orjson
import pytest
from asyncpg import PostgresConnectionError

from service.db import service_keys
from service.db.pool import Connection, Pool, in_statement
from service.db.service_keys import NewKey
from service.domain.service_key import Scope, ServiceKey, digest_of
from service.errors import KeyEnded, PostgresUnavailable
from service.http.app import ENDPOINTS
from service.settings import Settings
from service.usecases import service_keys as finding
from service.usecases.service_keys import KEPT_SECONDS, ServiceKeys
from tests.running import RunningService, bearer, running_receiver, until, waits
from tests.service.conftest import Logged
from tests.service.http.refusals import is_problem

KEY = "pok_abcdefgh-and-the-rest-of-a-key"

# Every endpoint that wants a key, with the scope that it declares.
NEEDED = [(one.method, re.sub(r"\{\w+\}", "order-1", one.path), one.scope) for one in ENDPOINTS if one.scope]


async def make(
    pool: Pool, scopes: Iterable[Scope] = Scope, key: str = KEY, lives: timedelta | None = None
) -> dict[str, str]:
    """Store a key; return the header that sends it."""
    expires_at = datetime.now(UTC) + lives if lives is not None else None
    assert await in_statement(
        pool,
        service_keys.insert,
        NewKey(key[:12], digest_of(key.encode()), "shipping", set(scopes), expires_at),
    )
    return bearer(key)


@pytest.mark.parametrize("scope", Scope)
async def test_a_key_opens_what_its_scope_names(receiver: RunningService, pool: Pool, scope: Scope) -> None:
    """A key with one scope is refused with 403 and a sentence wherever another scope is needed, and nowhere else."""
    header = await make(pool, [scope])
    for method, path, needed in NEEDED:
        # Only a refusal is read to its end: a stream of events has none.
        async with receiver.session.request(method, receiver.url + path, headers=header) as answer:
            if scope == needed:
                assert answer.status not in (401, 403), (method, path)
            else:
                body = await answer.json()
                is_problem(answer.status, body, 403)
                assert body["detail"] == f"This service key lacks the scope {needed}."


async def test_the_challenge_names_the_scope(receiver: RunningService, pool: Pool) -> None:
    """A 403 names the scope in WWW-Authenticate, as RFC 6750 has it, and a 401 tells a missing key from a wrong one."""
    header = await make(pool, [Scope.ORDERS_READ])
    challenges = []
    for headers in (header, bearer("wrong"), {}):
        async with receiver.session.get(f"{receiver.url}/metrics", headers=headers) as answer:
            challenges.append((answer.status, answer.headers["WWW-Authenticate"]))
    assert challenges == [
        (403, 'Bearer error="insufficient_scope", scope="metrics"'),
        (401, 'Bearer error="invalid_token"'),
        (401, "Bearer"),
    ]


async def test_a_new_key_works_at_once(receiver: RunningService, pool: Pool) -> None:
    """A key that was made after the receiver's last reading works with its first request."""
    assert (await receiver.call("GET", "/metrics", headers=bearer(KEY)))[0] == 401
    header = await make(pool)
    assert (await receiver.call("GET", "/metrics", headers=header))[0] == 200


async def test_an_expired_key_is_told_so(receiver: RunningService, pool: Pool) -> None:
    """A key that has expired is answered 401 with a sentence that says so."""
    header = await make(pool, lives=timedelta(seconds=-1))
    status, body = await receiver.call("GET", "/metrics", headers=header)
    is_problem(status, body, 401)
    assert "has expired" in body["detail"]


async def test_a_revoked_key_ends(receiver: RunningService, pool: Pool) -> None:
    """A key that a receiver has in memory is refused soon after it was revoked."""
    header = await make(pool)
    assert (await receiver.call("GET", "/metrics", headers=header))[0] == 200
    assert await in_statement(pool, service_keys.revoke, KEY[:12]) == "shipping"

    async def is_refused() -> bool:
        return (await receiver.call("GET", "/metrics", headers=header))[0] == 401

    await until(is_refused)


async def test_a_wait_ends_with_its_key(receiver: RunningService, pool: Pool) -> None:
    """A stream says why it ends, and each waiting read is answered 401, once the key is found revoked."""
    header = await make(pool)
    await receiver.register("order-1")
    newest = (await receiver.call("GET", "/events?after=now", headers=header))[1]["next"]
    known = {"Prefer": "wait=60", "If-None-Match": '"1"'}
    waiting = [
        asyncio.create_task(receiver.call("GET", f"/events?after={newest}&wait=60", headers=header)),
        asyncio.create_task(receiver.call("GET", "/orders/order-1", headers=header | known)),
    ]
    async with receiver.session.get(f"{receiver.url}/events/stream?after=now", headers=header) as stream:
        await until(lambda: waits(receiver, "followers", 2))
        await until(lambda: waits(receiver, "waiting_reads", 1))
        assert await in_statement(pool, service_keys.revoke, KEY[:12])
        async with asyncio.timeout(40):
            text = (await stream.read()).decode()
            answers = await asyncio.gather(*waiting)
    end = orjson.loads(text.rpartition("event: end\n")[2].partition("data: ")[2])
    assert end["next"] == newest
    assert "was revoked" in end["why"]
    for status, body in answers:
        is_problem(status, body, 401)
        assert "was revoked" in body["detail"]
    assert (await receiver.call("GET", "/events", headers=bearer()))[0] == 200  # other keys go on


async def test_a_wait_ends_when_its_key_expires(pool: Pool) -> None:
    """A wait ends in the moment at which its key expires, and one whose key lives on ends by itself."""
    keys = ServiceKeys(pool, ("configured",))
    key = await keys.find(b"configured")
    assert key is not None
    async with keys.while_good(key):
        await keys._read()
    soon = replace(key, expires_at=datetime.now(UTC) + timedelta(seconds=0.05))
    with pytest.raises(KeyEnded):
        async with asyncio.timeout(30), keys.while_good(soon):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with keys.while_good(key), asyncio.timeout(0):
            await asyncio.Event().wait()

    async def is_slow_to_go() -> None:
        try:
            await keys._read()
            await asyncio.Event().wait()
        finally:
            await keys._read()  # it keeps no reading from its work

    with pytest.raises(KeyEnded):
        async with keys.while_good(replace(key, digest=b"of no key")):
            await is_slow_to_go()
    assert not keys._waiting
    await keys.close()


async def test_a_flood_of_wrong_keys_shares_readings(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand wrong keys at once cost a few statements, and a right one among them is found."""
    readings = 0
    read = service_keys.working

    async def counted(db: Connection) -> dict[bytes, ServiceKey]:
        nonlocal readings
        readings += 1
        return await read(db)

    monkeypatch.setattr(service_keys, "working", counted)
    keys = ServiceKeys(pool, ())
    await make(pool)
    tried = [KEY, *(f"wrong-{number}" for number in range(1_000))]
    found = await asyncio.gather(*(keys.find(key.encode()) for key in tried))
    assert [key is not None for key in found] == [True] + [False] * 1_000
    assert readings <= 3
    assert await keys.find(KEY.encode()) == found[0]
    assert readings <= 3  # a known key asks nobody
    await keys.close()


async def test_keys_outlive_an_outage_of_postgres(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Postgres is away the keys that were read last go on for a while, and wrong ones are refused."""
    await make(pool)
    keys = ServiceKeys(pool, ("configured",))
    assert await keys.find(KEY.encode())

    async def away(db: object) -> object:
        raise PostgresConnectionError("away")

    monkeypatch.setattr(service_keys, "working", away)
    assert await keys.find(KEY.encode())
    assert await keys.find(b"wrong") is None
    keys._read_at -= KEPT_SECONDS
    with pytest.raises(PostgresUnavailable):
        await keys.find(KEY.encode())
    assert await keys.find(b"configured")  # it needs no Postgres
    await keys.close()


async def test_uses_are_written_in_the_background(pool: Pool) -> None:
    """The time of a key's last use is written once for many requests, and no oftener than once a minute."""
    await make(pool)
    keys = ServiceKeys(pool, ())
    for _ in range(50):
        await keys.find(KEY.encode())
    assert (await _listed(pool)).last_used_at is None  # no request waits for it
    await keys.close()
    first = (await _listed(pool)).last_used_at
    assert first is not None
    await keys.find(KEY.encode())
    await keys.close()
    assert (await _listed(pool)).last_used_at == first
    await pool.execute("UPDATE service_keys SET last_used_at = last_used_at - interval '2 minutes'")
    await keys.find(KEY.encode())
    await keys.close()
    last = (await _listed(pool)).last_used_at
    assert last is not None
    assert last >= first


async def _listed(pool: Pool) -> service_keys.ListedKey:
    [key] = await in_statement(pool, service_keys.listed, ended=False)
    return key


async def test_the_number_of_keys_is_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound no key is made until another has ended."""
    monkeypatch.setattr(service_keys, "KEYS_MAX", 1)
    await make(pool)
    other = NewKey("pok_otherkey", b"o" * 32, "billing", {Scope.ADMIN}, None)
    assert not await in_statement(pool, service_keys.insert, other)
    await in_statement(pool, service_keys.revoke, KEY[:12])
    assert await in_statement(pool, service_keys.insert, other)


async def test_nothing_of_a_key_reaches_a_log(
    settings: Settings, pool: Pool, logged: Callable[[ModuleType], Logged], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a right key nor a wrong one is in an answer, a log line or the table."""
    lines = logged(finding)
    async with running_receiver(settings) as receiver:
        header = await make(pool)
        for headers in (header, bearer(KEY + "x")):
            _, body = await receiver.call("POST", "/orders", data=b"{}", headers=headers)
            assert KEY[12:] not in str(body)
    stored = str([tuple(row) for row in await pool.fetch("SELECT * FROM service_keys")])
    written = capsys.readouterr()
    for text in (stored, str(lines.lines), written.out, written.err):
        assert KEY[12:] not in text
