"""Faults and misconfigurations to plant in a running service, each with the sentence that must name it."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import asyncpg
from aiohttp import web
from redis.asyncio import Redis

from service.db.pool import Pool
from service.settings import Settings
from tests.ports import own_port

Variables = Mapping[str, str]
Plant = Callable[[Settings, Pool], AbstractAsyncContextManager[Variables]]

TOKEN = {"code": 0, "message": None, "response": {"access_token": "token", "now": 1, "expired_at": 1801}}


@dataclass(frozen=True)
class Planted:
    """A fault: what is changed in the command's environment or in the service, and what must be printed.

    `alone`: the databases change, so nothing else can be planted beside it.
    """

    name: str
    line: str  # a pattern of the one line that names the culprit
    variables: Callable[[Settings], Variables] = field(default=lambda _: {})
    plant: Plant = field(default=lambda settings, pool: nullcontext({}))
    alone: bool = False


def _with(**variables: str) -> Callable[[Settings], Variables]:
    return lambda _: variables


def _replaced(name: str, pattern: str, text: str) -> Callable[[Settings], Variables]:
    """Change a part of a URL."""
    return lambda settings: {name: re.sub(pattern, text, getattr(settings, name.lower()).get_secret_value())}


def _sql(name: str, line: str, statement: str, undo: str) -> Planted:
    """Return a fault that a statement plants, and another takes back."""

    @asynccontextmanager
    async def plant(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
        await pool.execute(statement)
        try:
            yield {}
        finally:
            await pool.execute(undo)

    return Planted(name, line, plant=plant, alone=True)


def _listening(name: str, scheme: str, answer: Callable[[asyncio.StreamWriter], Awaitable[None]] | None) -> Plant:
    """Have a server listen that never answers, or answers this, in the place of the one that a setting names."""

    @asynccontextmanager
    async def plant(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
        ended = asyncio.Event()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await (answer(writer) if answer else ended.wait())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            yield {name: f"{scheme}127.0.0.1:{server.sockets[0].getsockname()[1]}"}
            ended.set()

    return plant


def _answering(name: str, status: int, body: Any, clock: timedelta = timedelta(), **headers: str) -> Plant:
    """Have another server answer in the place of the one that a setting names, with a clock that may be off."""

    @asynccontextmanager
    async def plant(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
        async def answer(_: web.Request) -> web.Response:
            date = {"Date": format_datetime(datetime.now(UTC) + clock, usegmt=True)}
            if isinstance(body, str):
                return web.Response(text=body, status=status, content_type="text/html", headers=date | headers)
            return web.json_response(body, status=status, headers=date | headers)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield {name: f"http://127.0.0.1:{runner.addresses[0][1]}"}
        await runner.cleanup()

    return plant


def _redis_setting(key: str, value: str, before: str) -> Plant:
    @asynccontextmanager
    async def plant(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
        async with Redis.from_url(settings.redis_url.get_secret_value()) as redis:
            await redis.config_set(key, value)
            try:
                yield {}
            finally:
                await redis.config_set(key, before)

    return plant


@asynccontextmanager
async def _unreadable_spill(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
    async with Redis.from_url(settings.redis_url.get_secret_value()) as redis:
        await redis.xadd("notices:spill:unreadable", {"notice": "?"})
        try:
            yield {}
        finally:
            await redis.delete("notices:spill:unreadable")


_DISK_FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON processes FOR EACH ROW EXECUTE FUNCTION full_disk()
"""
_OF_DATABASE = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {}', current_database()); END $$"
_OLD_SCAN = (
    "INSERT INTO ledger_scans (account, tier, next_at, last_completed_at) VALUES ('default', '', now() +"
    " interval '1 day', now() - interval '1 hour') ON CONFLICT (account, tier) DO UPDATE SET"
    " next_at = excluded.next_at, last_completed_at = excluded.last_completed_at"
)
_UNKNOWN_TIER = (
    "INSERT INTO notices (id, source, imp_uid, registered, tier, parked_at, last_outcome)"
    " VALUES (gen_random_uuid(), 'webhook', 'imp_1', false, 'abc', now(), 'store_not_configured')"
)
_PROBLEM = (
    "INSERT INTO orders (merchant_uid, amount, currency, expires_at, state, problems) VALUES ('order-1', 1, 'KRW',"
    """ now() + interval '1 day', 'pending', '[{"kind": "wrong_amount", "imp_uid": "imp_1"}]')"""
)
_OTHER_PROCESS = (
    "INSERT INTO processes (id, kind, host, pid, version, clock_ahead_seconds, settings, trouble, refused_accounts,"
    " away_accounts)"
    " SELECT gen_random_uuid(), 'worker', 'other-host', 7, version, {clock}, '{{}}', {trouble}, {refused}, {away}"
    " FROM processes LIMIT 1"
)


def _other_worker(
    name: str, line: str, clock: str = "0", trouble: str = "NULL", refused: str = "'{}'", away: str = "'{}'"
) -> Planted:
    """Have another worker report itself, on another machine."""
    statement = _OTHER_PROCESS.format(clock=clock, trouble=trouble, refused=refused, away=away)
    return _sql(name, line, statement, "DELETE FROM processes WHERE host = 'other-host'")


_DISABLED_ENDPOINT = """
    INSERT INTO endpoints (name, url, secret, told_to, disabled_at, disabled_why)
    VALUES ('warehouse', 'https://warehouse.example', 'whsec_', 0, now(), 'it answered 410 Gone')
"""
_HTML = "<html><body>Welcome</body></html>"


@asynccontextmanager
async def _open_writer(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
    """Leave a transaction open that has written an event."""
    connection = await asyncpg.connect(
        settings.database_url.get_secret_value(), server_settings={"application_name": "a report"}
    )
    try:
        await connection.execute("BEGIN")
        await connection.execute(
            "INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,"
            " problems, cause) VALUES ('order-1', 1, 'pending', 1, 'KRW', 0, 0, '[]', 'registration')"
        )
        yield {}
    finally:
        await connection.close()


@asynccontextmanager
async def _in_circles(settings: Settings, pool: Pool) -> AsyncIterator[Variables]:
    """Name the receiver's own address as the page where phones end."""
    async with _answering("PUBLIC_URL", 200, {"postgres": "ok"})(settings, pool) as changed:
        yield {**changed, "RETURN_URL": f"{changed['PUBLIC_URL']}/payment-redirect"}


PLANTED = [
    # Settings
    Planted("no DATABASE_URL", "Postgres: Set DATABASE_URL in the environment", _with(DATABASE_URL="")),
    Planted("no REDIS_URL", "Redis: Set REDIS_URL in the environment", _with(REDIS_URL="")),
    Planted("no secret", "PortOne: Set PORTONE_IMP_SECRET in the environment", _with(PORTONE_IMP_SECRET="")),
    Planted("a port that is none", "Settings: Correct these settings .*: PORT:", _with(PORT="many")),
    # Postgres
    Planted(
        "a wrong password of Postgres",
        r"Postgres: Postgres at 127.0.0.1:\d+/\w+: it refuses the password: .* password in DATABASE_URL\.$",
        _replaced("DATABASE_URL", r"portone:[^@]*@", "portone:wrong@"),
    ),
    Planted(
        "a host of Postgres that nobody knows",
        "Postgres: .*: its host is not known: correct the host in DATABASE_URL",
        _replaced("DATABASE_URL", "127.0.0.1", "no-such-postgres"),
    ),
    Planted(
        "a port on which no Postgres listens",
        "Postgres: .*: nothing listens at this address: .* DATABASE_URL",
        _replaced("DATABASE_URL", r"127.0.0.1:\d+", f"127.0.0.1:{own_port()}"),
    ),
    Planted(
        "a database that is not there",
        "Postgres: .*: it has no database of this name: .* at the end of DATABASE_URL",
        _replaced("DATABASE_URL", r"/test_\w+", "/nowhere"),
    ),
    Planted(
        "a Postgres that hangs",
        "Postgres: .*: it does not answer in time: .* DATABASE_URL",
        plant=_listening("DATABASE_URL", "postgresql://shop@", None),
    ),
    _sql(
        "migrations that are missing",
        r"Postgres: Migrations are missing \(migrations/0001_schema",
        "ALTER TABLE schema_migrations RENAME TO away",
        "ALTER TABLE away RENAME TO schema_migrations",
    ),
    _sql(
        "a full disk of Postgres",
        "Postgres: .*: its disk is full: free space",
        _DISK_FULL,
        "DROP FUNCTION full_disk CASCADE",
    ),
    _sql(
        "a table that is missing",
        "(Stores|Promise): Postgres at .*: its tables or functions are missing: run `portone-orders migrate`",
        "ALTER TABLE ledger_scans RENAME TO away",
        "ALTER TABLE away RENAME TO ledger_scans",
    ),
    _sql(
        "a table without autovacuum",
        r"Vacuum: Autovacuum is switched off for the table notices: run ALTER TABLE notices RESET \(autovacuum_enabled",
        "ALTER TABLE notices SET (autovacuum_enabled = false)",
        "ALTER TABLE notices RESET (autovacuum_enabled)",
    ),
    _sql(
        "a Postgres that does not count its rows",
        "Vacuum: Postgres' setting track_counts is off, so dead rows stay: switch it on",
        _OF_DATABASE.format("SET track_counts = off"),
        _OF_DATABASE.format("RESET track_counts"),
    ),
    _sql(
        "a Postgres that does not wait for its disk",
        "Standby: Postgres' synchronous_commit is off, so a crash or a failover loses .* notices too: set it to on",
        _OF_DATABASE.format("SET synchronous_commit = off"),
        _OF_DATABASE.format("RESET synchronous_commit"),
    ),
    # Redis
    Planted(
        "a wrong password of Redis",
        r"Redis: Redis at 127.0.0.1:\d+/0: it refuses the password: correct the password in REDIS_URL\.$",
        _replaced("REDIS_URL", r"redis://:[^@]*@", "redis://:wrong@"),
    ),
    Planted(
        "no password for Redis",
        "Redis: .*: it wants a password: put its password into REDIS_URL",
        _replaced("REDIS_URL", r"redis://:[^@]*@", "redis://"),
    ),
    Planted(
        "a port on which no Redis listens",
        "Redis: .*: nothing listens at this address: .* REDIS_URL",
        lambda settings: {"REDIS_URL": f"redis://localhost:{own_port()}/0"},
    ),
    Planted(
        "a Redis that hangs",
        "Redis: .*: it does not answer in time: .* REDIS_URL",
        plant=_listening("REDIS_URL", "redis://", None),
    ),
    Planted(
        "a Redis that may lose what it accepts",
        "Redis: .* may lose what it accepts: set appendfsync to always",
        plant=_redis_setting("appendfsync", "everysec", "always"),
        alone=True,
    ),
    Planted(
        "a Redis whose memory is full",
        "Redis: Redis' memory is nearly full",
        plant=_redis_setting("maxmemory", "1mb", "0"),
        alone=True,
    ),
    Planted(
        "a spilled notice that nobody can read",
        "Redis: 1 entries in Redis .*unreadable",
        plant=_unreadable_spill,
        alone=True,
    ),
    # PortOne
    Planted(
        "a wrong secret",
        "PortOne: PortOne at .* refuses the key: correct PORTONE_IMP_KEY and PORTONE_IMP_SECRET",
        _with(PORTONE_IMP_SECRET="wrong"),
    ),
    Planted(
        "a wrong secret of another account",
        "PortOne: PortOne at .* refuses the key: correct shop-b in PORTONE_ACCOUNTS",
        _with(PORTONE_ACCOUNTS='{"shop-b": {"imp_key": "b", "imp_secret": "wrong"}}'),
    ),
    Planted(
        "a PortOne that hangs",
        r"PortOne: PortOne at http://127.0.0.1:\d+ does not answer within 4 s: .* PORTONE_API_URL",
        plant=_listening("PORTONE_API_URL", "http://", None),
    ),
    Planted(
        "a PortOne that answers HTML",
        r"PortOne: What answers at .* \(200, text/html\) is not PortOne: .* PORTONE_API_URL",
        plant=_answering("PORTONE_API_URL", 200, _HTML),
    ),
    Planted(
        "a PortOne that is down",
        "PortOne: .* answers 503, so it is down",
        plant=_answering("PORTONE_API_URL", 503, _HTML),
    ),
    Planted(
        "a host of PortOne that nobody knows",
        "PortOne: .*: its host is not known: correct PORTONE_API_URL",
        _with(PORTONE_API_URL="http://api.portone.invalid"),
    ),
    # The addresses outside
    Planted(
        "a public host that nobody knows",
        r"Address: PUBLIC_URL \(https://pay.shop.invalid\) has a host that is not known: add it to the DNS",
        _with(PUBLIC_URL="https://pay.shop.invalid"),
    ),
    Planted(
        "a public address without TLS",
        r"Address: PUBLIC_URL \(http://pay.shop.example\) is not https, so that all travels in the open: put TLS",
        _with(PUBLIC_URL="http://pay.shop.example"),
    ),
    Planted(
        "a public address where nothing listens",
        r"Address: PUBLIC_URL \(http://127.0.0.1:\d+\) cannot be reached: start what listens there, or correct",
        _with(PUBLIC_URL=f"http://127.0.0.1:{own_port()}"),
    ),
    Planted(
        "a public address that redirects",
        r"Address: PUBLIC_URL \(.*\) redirects to https://pay.shop.example/: correct PUBLIC_URL to where it leads",
        plant=_answering("PUBLIC_URL", 301, _HTML, Location="https://pay.shop.example/"),
    ),
    Planted(
        "a proxy that does not pass on what is asked",
        r"Address: What answers at PUBLIC_URL \(.*\) \(404\) is no receiver: have its proxy pass all paths on",
        plant=_answering("PUBLIC_URL", 404, _HTML),
    ),
    Planted(
        "a proxy without CORS",
        "Address: http://127.0.0.1:.* does not let pages of https://shop.example call /payment/complete: restart",
        _with(CORS_ORIGINS="https://shop.example"),
        _answering("PUBLIC_URL", 200, {"postgres": "ok", "redis": "durable"}),
    ),
    Planted(
        "an origin with a slash",
        "Pages: CORS_ORIGINS has https://Shop.example:443/, which no browser sends: write https://shop.example\\.$",
        _with(CORS_ORIGINS="https://other.example,https://Shop.example:443/"),
    ),
    Planted(
        "any origin", r"Pages: CORS_ORIGINS has '\*', which is no origin: write each like", _with(CORS_ORIGINS="*")
    ),
    Planted(
        "a page for phones that is not there",
        r"Pages: RETURN_URL \(.*\) answers 404, so phones end on no page: put the page there, or correct RETURN_URL",
        plant=_answering("RETURN_URL", 404, _HTML),
    ),
    Planted(
        "a page for phones that is the receiver",
        "Pages: RETURN_URL .* is the receiver's own address, where phones go round in circles: set your page",
        plant=_in_circles,
    ),
    # The service
    _sql(
        "a broken promise",
        "Promise: The last ledger scan ended 36.. s ago",
        _OLD_SCAN,
        "UPDATE ledger_scans SET last_completed_at = now(), next_at = now()",
    ),
    _sql(
        "a tier that is not configured",
        "Stores: 1 notice names the tier abc of the account default, .* PORTONE_TIERS",
        _UNKNOWN_TIER,
        "DELETE FROM notices",
    ),
    _sql(
        "a problem",
        "Problems: 1 problem needs a person: see `portone-orders problems list`",
        _PROBLEM,
        "DELETE FROM orders",
    ),
    _sql(
        "an endpoint that was disabled",
        "Endpoints: warehouse is disabled since .*: it answered 410 Gone. .* `.* endpoints enable warehouse`",
        _DISABLED_ENDPOINT,
        "DELETE FROM endpoints",
    ),
    _other_worker(
        "a worker with a wrong password of Redis",
        r"Workers: The worker 7 on other-host takes up no notices \(Redis: it refuses the password\): .* its REDIS_URL",
        trouble="'Redis: it refuses the password'",
    ),
    _other_worker(
        "a worker with an old secret",
        "Workers: The worker 7 on other-host has a key that PortOne refuses since 2026-01-01 .*: correct its PORTONE_",
        refused="""'{"default": "2026-01-01T00:00:00+00:00"}'""",
    ),
    _other_worker(
        "a worker that cannot reach PortOne",
        r"Workers: The worker 7 on other-host gets no answer from PortOne \(default\) since 2026-01-01 .*: let its",
        away="""'{"default": "2026-01-01T00:00:00+00:00"}'""",
    ),
    _other_worker(
        "a worker's clock that is off by an hour",
        "Workers: The worker 7 on other-host has a clock 3600 s ahead of Postgres'",
        clock="3600",
    ),
    Planted(
        "this machine's clock that is off by an hour",
        "Clock: The clocks of this machine and of Postgres are (3599|360[0-9]) s ahead of PortOne's",
        plant=_answering("PORTONE_API_URL", 200, TOKEN, clock=timedelta(hours=-1)),
    ),
    Planted(
        "a transaction that holds the feed back",
        r"Feed: The transaction of pid \d+ \(a report, idle in transaction\) has been open for \d+ s, .* end it",
        plant=_open_writer,
        alone=True,
    ),
]
