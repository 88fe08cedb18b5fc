"""The world that all schedules of a run share: a scratch Postgres with its own clock, and a scratch Redis."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import asyncpg
import orjson
from arq.constants import job_key_prefix

from cli.embedded.postgres import USER, Postgres
from cli.embedded.redis import Redis
from cli.processes import Process
from faults import oracle
from faults.rows import migrate_strictly
from service.db.pool import Connection, open_pool, patient_connection
from service.redis.queue import QUEUE_NAME, connect
from service.redis.spill import SPILL_STREAM

if TYPE_CHECKING:
    from faults.explorer.schedule import Schedule

# now() and clock_timestamp() on the schedule's clock, which is a sequence because every transaction sees its new
# value at once. The service's SQL runs unchanged, because these functions come before Postgres' own in the path.
_CLOCK = """
    CREATE SCHEMA fake;
    CREATE SEQUENCE fake.microseconds MINVALUE 0;
    SELECT setval('fake.microseconds', 0);
    CREATE FUNCTION fake.now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS
        'BEGIN RETURN to_timestamp(pg_sequence_last_value(''fake.microseconds''::regclass) / 1000000.0); END';
    CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS
        'BEGIN RETURN to_timestamp(pg_sequence_last_value(''fake.microseconds''::regclass) / 1000000.0); END';
"""
_SETTINGS = (
    "search_path = public, fake, pg_catalog",
    "synchronous_commit = off",
    "deadlock_timeout = '20ms'",
    "jit = off",
    # Each session plans a statement once, because the tables have a handful of rows whatever the arguments are.
    "plan_cache_mode = force_generic_plan",
)
_OPTIONS = {
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "scram_iterations": "1",
    "shared_preload_libraries": "plpgsql",
    "shared_buffers": "8MB",
    "max_connections": "30",
}
# Tables that keep every state of each payment's row, every version of each order, and every look.
_HISTORY = """
    CREATE TABLE fake.payments (n bigint GENERATED ALWAYS AS IDENTITY, imp_uid text, status text, refunded bigint,
                                refunds int, state text, lesser bool);
    CREATE FUNCTION fake.keep_payment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO fake.payments (imp_uid, status, refunded, refunds, state, lesser)
        VALUES (NEW.imp_uid, NEW.status, NEW.cancelled_amount, NEW.cancellations, NEW.details->>'receipt_url',
                NEW.lesser IS NOT NULL);
        RETURN NULL; END $$;
    CREATE TRIGGER keep AFTER INSERT OR UPDATE ON public.payments FOR EACH ROW EXECUTE FUNCTION fake.keep_payment();
    CREATE TABLE fake.orders (n bigint GENERATED ALWAYS AS IDENTITY, merchant_uid text, version int, content jsonb);
    CREATE FUNCTION fake.keep_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO fake.orders (merchant_uid, version, content)
        VALUES (NEW.merchant_uid, NEW.version, to_jsonb(NEW) - 'version' - 'updated_at');
        RETURN NULL; END $$;
    CREATE TRIGGER keep AFTER INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION fake.keep_order();
    CREATE TABLE fake.looks (imp_uid text, looked_at timestamptz);
    CREATE FUNCTION fake.keep_look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO fake.looks VALUES (NEW.imp_uid, NEW.looked_at);
        RETURN NULL; END $$;
    CREATE TRIGGER keep AFTER INSERT OR UPDATE ON public.last_looks FOR EACH ROW EXECUTE FUNCTION fake.keep_look();
"""
_CLEAR = "; ".join(
    f"DELETE FROM {table}"  # noqa: S608
    for table in (
        "order_events",
        "order_checks",
        "notices",
        "last_looks",
        "payments",
        "unreadable_payments",
        "orders",
        "ledger_scans",
        "fake.payments",
        "fake.orders",
        "fake.looks",
    )
)
_PATIENCE_SECONDS = 10.0
# Jobs are sorted by their first notices, because those ids do not depend on Redis' clock or a job's random name.
_TAKE_JOB = """
    local jobs = {}
    for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        local body = redis.call('GET', KEYS[2] .. name)
        if body then
            jobs[#jobs + 1] = {name = name, body = body, ids = table.concat(cjson.decode(body)['a'][1], ' ')}
        end
    end
    if #jobs == 0 then
        return {false, 0}
    end
    table.sort(jobs, function(one, other) return one.ids < other.ids end)
    local taken = jobs[math.floor(tonumber(ARGV[1]) * #jobs) + 1]
    redis.call('ZREM', KEYS[1], taken.name)
    return {taken.body, #jobs - 1}
"""
_SPACING = timedelta(seconds=0.499)
_TRUNCATED_EVERY = 100
_RANKS = {"ready": 0, "issued": 1, "failed": 2, "paid": 3, "cancelled": 4}


class World:
    """The databases, and the questions that are asked of them without a gate."""

    def __init__(
        self, admin: asyncpg.Connection, watch: asyncpg.Connection, follower: Connection, pool: Any, redis: Any
    ) -> None:
        self.admin, self.follower, self.pool, self.redis = admin, follower, pool, redis
        self._watch = watch  # used while `admin` may be busy
        self._take_job = redis.register_script(_TAKE_JOB)
        self._cleared = 0

    async def clear(self) -> None:
        """Delete the data of the last schedule."""
        self._cleared += 1
        if self._cleared % _TRUNCATED_EVERY == 0:
            tables = _CLEAR.replace("DELETE FROM ", "").replace(";", ",")
            await self.admin.execute(f"TRUNCATE {tables} CASCADE")
        else:
            await self.admin.execute(_CLEAR)
        await self.redis.flushdb()

    async def set_clock(self, seconds: float) -> None:
        await self.admin.execute(f"SELECT setval('fake.microseconds', {int(seconds * 1e6)})")

    async def waiting_for_locks(self) -> set[int]:
        """Return the sessions that wait for a lock of any kind."""
        return {row[0] for row in await self._watch.fetch("SELECT pid FROM pg_locks WHERE NOT granted")}

    async def at_rest(self) -> bool:
        """Return whether no notice is open and nothing is spilled."""
        has_open = await self.admin.fetchval("SELECT EXISTS (SELECT FROM notices WHERE due_at IS NOT NULL)")
        return not has_open and not await self.redis.xlen(SPILL_STREAM)

    async def take_job(self, which: float) -> tuple[list[str] | None, int]:
        """Take one of the jobs in Redis, by `which` from 0 to 1. Returns its notice ids, and how many jobs are left."""
        body, left = await self._take_job(keys=[QUEUE_NAME, job_key_prefix], args=[which])
        return (orjson.loads(body)["a"][0] if body else None), left

    async def judge(self, schedule: "Schedule", truth: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return a sentence for each broken promise."""
        rows = await oracle.read_rows(self.admin)
        return [
            *oracle.judge(rows, truth),
            *_lost(schedule, rows),
            *_missed_in_feed(schedule, rows),
            *await self._older_over_newer(schedule),
            *await self._silent_changes(),
            *await self._hasty_looks(),
            *_false_alarms(schedule, rows),
        ]

    async def deadlocks(self) -> int:
        """Return Postgres' count of deadlocks in the run. Closes the pool first: sessions report when they end."""
        await self.pool.close()
        return int(
            await self.admin.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        )

    async def _hasty_looks(self) -> list[str]:
        """Check invariant 9: a payment is looked at no more than twice a second."""
        rows = await self.admin.fetch(
            """
            SELECT imp_uid, looked_at - lag(looked_at) OVER (PARTITION BY imp_uid ORDER BY looked_at) AS after
            FROM (SELECT DISTINCT * FROM fake.looks) AS looks
            """
        )
        return [
            f"{row['imp_uid']} was looked at again after {row['after']}"
            for row in rows
            if row["after"] is not None and row["after"] < _SPACING
        ]

    async def _older_over_newer(self, schedule: "Schedule") -> list[str]:
        """Check that less progress never replaces more, nor an older state a newer, unless PortOne withdrew it."""
        wrong: list[str] = []
        last: dict[str, tuple[tuple[int, int, int], int]] = {}
        for row in await self.admin.fetch("SELECT * FROM fake.payments ORDER BY n"):
            progress = (_RANKS[row["status"]], row["refunded"], row["refunds"])
            state = int(row["state"].removeprefix("state-"))
            before = last.get(row["imp_uid"])
            last[row["imp_uid"]] = (progress, state)
            if before is None or schedule.truth.attempts[row["imp_uid"]].regressed:
                continue
            if progress < before[0]:
                wrong.append(f"{row['imp_uid']}: {progress} was stored over {before[0]}")
            elif state < before[1] and not schedule.truth.was_stale:
                wrong.append(f"{row['imp_uid']}: state {state} was stored over state {before[1]}")
        return wrong

    async def _silent_changes(self) -> list[str]:
        """Check that each change of an order is a version, and each version a change."""
        wrong: list[str] = []
        last: dict[str, asyncpg.Record] = {}
        for row in await self.admin.fetch("SELECT * FROM fake.orders ORDER BY n"):
            before = last.get(row["merchant_uid"])
            last[row["merchant_uid"]] = row
            if before is None:
                continue
            changed, steps = row["content"] != before["content"], row["version"] - before["version"]
            if steps != int(changed):
                wrong.append(f"{row['merchant_uid']}: changed {changed}, but the version rose by {steps}")
        return wrong


def _lost(schedule: "Schedule", rows: oracle.Rows) -> list[str]:
    """Check that each acknowledged notice has its row, unless its stream was destroyed."""
    ids, shared = {row["id"] for row in rows.notices}, {row["imp_uid"] for row in rows.notices}
    flushed = {accepted.notice.id for accepted in schedule.flushed}
    return [
        f"notice {accepted.notice.id} of {accepted.notice.imp_uid} was acknowledged and has no row"
        for accepted in schedule.accepted
        if not (
            accepted.row_id in ids
            if accepted.row_id
            else accepted.notice.id in ids or accepted.notice.imp_uid in shared or accepted.notice.id in flushed
        )
    ]


def _false_alarms(schedule: "Schedule", rows: oracle.Rows) -> list[str]:
    """Check that a regression is reported only if PortOne really said less later. Late answers are dropped."""
    if schedule.truth.was_stale or any(attempt.regressed for attempt in schedule.truth.attempts.values()):
        return []
    return [
        f"{event['merchant_uid']} version {event['version']} reports a regression that never happened"
        for event in rows.events
        if any(problem["kind"] == "regressed_payment" for problem in event["problems"])
    ]


def _missed_in_feed(schedule: "Schedule", rows: oracle.Rows) -> list[str]:
    """Check that a reader of the feed got every event once, and each order's events in order."""
    events = {(event["merchant_uid"], event["version"]) for event in rows.events}
    wrong = [f"the feed missed {event}" for event in sorted(events - set(schedule.feed))]
    if len(set(schedule.feed)) != len(schedule.feed):
        wrong.append("the feed had an event twice")
    for merchant_uid in {name for name, _ in events}:
        versions = [version for name, version in schedule.feed if name == merchant_uid]
        if versions != sorted(versions):
            wrong.append(f"the feed had the versions {versions} of {merchant_uid}")
    return wrong


def _scratch_folder() -> Path:
    """Make a folder, in memory if possible. Other users may enter, because root's Postgres runs as `nobody`."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    folder = Path(tempfile.mkdtemp(prefix="portone-explorer-", dir=memory if memory.is_dir() else None))
    folder.chmod(0o711)
    return folder


@contextlib.asynccontextmanager
async def running_world() -> AsyncIterator[World]:
    """Start the databases in a scratch folder, and leave nothing behind."""
    folder = _scratch_folder()
    postgres = Postgres(folder / "postgres", folder / "postgres.log", scratch=True)
    redis = Redis(folder / "redis", folder / "redis.log", embedded=True)
    processes: list[Process] = []
    try:
        processes = [_with_options(await postgres.prepare(), postgres.home), redis.prepare()]
        socket = folder / "redis" / "socket"
        with (folder / "redis" / "redis.conf").open("a") as config:
            config.write(f"unixsocket {socket}\n")
        await asyncio.gather(postgres.start(processes[0]), redis.start(processes[1]))
        async with _connected(_over_socket(postgres), f"unix://:{urlsplit(redis.url()).password}@{socket}") as world:
            yield world
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
        if processes:
            shutil.rmtree(postgres.home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _with_options(process: Process, folder: Path) -> Process:
    """Return the server with options that make a round trip cheap. The last of two equal options counts."""
    options = _OPTIONS | {"unix_socket_directories": str(folder)}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return Process(replace(process.program, argv=(*process.program.argv, *words)))


def _over_socket(postgres: Postgres) -> str:
    """Return the URL of the server's socket, because a send over loopback TCP costs three times as much CPU."""
    url = urlsplit(postgres.url())
    return f"{url.scheme}://{url.username}:{url.password}@{url.path}?host={quote(str(postgres.home))}&port={url.port}"


def _cache_types() -> None:
    """Make asyncpg cache Postgres' own types. Otherwise each session asks again, which costs 15 ms a schedule."""
    session: Any = asyncpg.Connection  # the method is private
    original, cache = session._introspect_types, dict[tuple[int, ...], Any]()

    async def introspect(connection: Any, oids: Iterable[int], timeout: float | None) -> Any:
        key = tuple(sorted(oids))
        if key not in cache:
            cache[key] = await original(connection, oids, timeout)
            return cache[key]
        return cache[key][0], _NamedStatement

    session._introspect_types = introspect


class _NamedStatement:
    """A stand-in that tells asyncpg that no question about types has replaced the prepared statement."""

    name = "known"


@contextlib.asynccontextmanager
async def _connected(url: str, redis_url: str) -> AsyncIterator[World]:
    _cache_types()
    admin = await asyncpg.connect(url)
    # Sessions are cut often, so a new one must authenticate fast: in 1 SCRAM iteration instead of 4,096.
    await admin.execute(f"ALTER ROLE {USER} PASSWORD '{urlsplit(url).password}'")
    await admin.execute(_CLOCK)
    for setting in _SETTINGS:
        await admin.execute(f"ALTER DATABASE portone_orders SET {setting}")
    await admin.close()
    await migrate_strictly(url)
    admin = await asyncpg.connect(url)
    await admin.execute(_HISTORY)
    watch = await asyncpg.connect(url)
    pool, redis = await open_pool(url), connect(redis_url, socket_timeout=5)
    try:
        async with patient_connection(url, _PATIENCE_SECONDS) as follower:
            yield World(admin, watch, follower, pool, redis)
    finally:
        await watch.close()
        await redis.aclose(close_connection_pool=True)
        await pool.close()
        await admin.close()
