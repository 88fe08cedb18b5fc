"""`doctor` names the culprit of each planted fault, in one sentence and in time."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.checks.machine import clock_faults, fullness, kept_log
from cli.checks.service import faults_of
from cli.checks.standby import StandbyFacts, check_standby, standby_faults
from cli.checks.vacuum import OldTransaction, Table, VacuumFacts, vacuum_faults
from cli.main import app
from cli.status import Health, look
from service.db.pool import Pool
from service.db.processes import RunningProcess
from service.settings import Settings
from tests.cli.dev_run import DevRun, command
from tests.cli.planted import PLANTED, Planted
from tests.cli.test_commands import variables_of
from tests.conftest import Stores
from tests.running import running_receiver, running_worker, until

_PARTS = [
    "Postgres",
    "Redis",
    "PortOne",
    "Receivers",
    "Workers",
    "Promise",
    "Feed",
    "Stores",
    "Problems",
    "Endpoints",
    "Address",
    "Pages",
    "Encryption",
    "Disk",
    "Vacuum",
    "Standby",
    "Clock",
]
_LIMIT_SECONDS = 10.0
_WORKS = "SELECT EXISTS (SELECT FROM processes WHERE kind = 'worker' AND worked_at IS NOT NULL)"


@pytest.fixture(autouse=True)
def _away_from_a_developers_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def doctor(variables: Mapping[str, str]) -> tuple[int, list[str]]:
    """Run the command in its own thread, because it has its own event loop. Asserts that it is quick and plain."""
    began = time.monotonic()
    result = await asyncio.to_thread(CliRunner().invoke, app, ["doctor"], env=dict(variables))
    assert time.monotonic() - began < _LIMIT_SECONDS
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Connect call failed" not in result.output
    return result.exit_code, result.output.splitlines()


@asynccontextmanager
async def whole_service(settings: Settings, pool: Pool) -> AsyncIterator[None]:
    """Run a receiver and a worker, and wait until both have reported themselves."""
    async with running_receiver(settings), running_worker(settings):
        await until(lambda: pool.fetchval(f"{_WORKS} AND EXISTS (SELECT FROM processes WHERE kind = 'receiver')"))
        yield


async def test_a_service_that_is_well_is_ok(settings: Settings, pool: Pool) -> None:
    """Every part of a healthy service is ok, and the exit code is 0."""
    async with whole_service(settings, pool):
        assert await doctor(variables_of(settings)) == (0, [f"{part}: ok" for part in _PARTS])


# Each takes fifteen connections to Postgres, which would be scarce otherwise.
_AT_ONCE = 2


@pytest.mark.timeout(300)  # some faults take their time: a server that hangs is waited for
async def test_each_planted_fault_is_named(settings: Settings, pool: Pool) -> None:
    """`doctor` and `status` name the culprit of each fault in one line, and blame nothing else. All share a service."""
    limit, wrong = asyncio.Semaphore(_AT_ONCE), dict[str, list[str]]()

    async def plant(planted: Planted) -> None:
        async with limit, planted.plant(settings, pool) as changed:
            variables = {**variables_of(settings), **planted.variables(settings), **changed}
            seen = await look(lambda: Settings.load(_env_file=None, **{n.lower(): v for n, v in variables.items()}))
        if not _is_named(planted, seen):
            wrong[planted.name] = [line for finding in seen.findings for line in finding.lines]

    async with whole_service(settings, pool):
        await asyncio.gather(*(plant(planted) for planted in PLANTED if not planted.alone))
        for planted in PLANTED:
            if planted.alone:
                await plant(planted)
                await until(partial(_is_well, settings, pool, await pool.fetchval("SELECT now()")))
    assert wrong == {}


def _is_named(planted: Planted, seen: Health) -> bool:
    """Return whether one line names the culprit, and no other part is blamed but for what Postgres' tables say."""
    named = [fault for fault in seen.faults if re.search(planted.line, fault)]
    blamed = {finding.part for finding in seen.findings if finding.faults}
    part = named[0].partition(":")[0] if named else ""
    return len(named) == 1 and seen.weight != "well" and blamed - {part} <= {"Promise", "Stores", "Problems"}


async def _is_well(settings: Settings, pool: Pool, since: datetime) -> bool:
    """Return whether a fault that ended then has left no trace, such as the trouble that a worker reports later."""
    reported = await pool.fetchval("SELECT bool_and(seen_at > $1) FROM processes", since)
    return reported and (await look(lambda: settings)).weight == "well"


async def test_there_are_twenty_of_them() -> None:
    """The table plants at least twenty faults, each once."""
    assert len({planted.name for planted in PLANTED}) == len(PLANTED) >= 20


@pytest.mark.parametrize(("kind", "start"), [("receiver", "serve"), ("worker", "worker")])
async def test_a_process_that_does_not_run_is_missed(settings: Settings, pool: Pool, kind: str, start: str) -> None:
    """Without a receiver or a worker `doctor` says how to start one."""
    other = running_worker(settings) if kind == "receiver" else running_receiver(settings)
    async with other:
        await until(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM processes)"))
        code, lines = await doctor(variables_of(settings))
    part = f"{kind.capitalize()}s"
    assert code == 1
    assert f"{part}: No {kind} runs on this database: start one with `portone-orders {start}`." in lines


@asynccontextmanager
async def child(tmp_path: Path, settings: Settings, pool: Pool, words: str, **changed: str) -> AsyncIterator[DevRun]:
    """Run a receiver or a worker as a process of its own, until it has reported itself."""
    variables = variables_of(settings) | {"SERVICE_KEYS": "key"} | changed
    async with command(tmp_path, words, **variables) as run:
        await until(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM processes WHERE pid = $1)", run.process.pid))
        yield run


async def silence(pool: Pool, pid: int) -> None:
    """Let a minute pass since the process was last heard of."""
    await pool.execute("UPDATE processes SET seen_at = seen_at - interval '1 minute' WHERE pid = $1", pid)


@pytest.mark.parametrize(("words", "part"), [("worker", "Workers"), ("serve", "Receivers")])
async def test_a_frozen_process_is_named(tmp_path: Path, settings: Settings, pool: Pool, words: str, part: str) -> None:
    """A process that is stopped (SIGSTOP) is called frozen, with its pid, host and version."""
    async with child(tmp_path, settings, pool, words) as run:
        run.process.send_signal(signal.SIGSTOP)
        try:
            await silence(pool, run.process.pid)
            code, lines = await doctor(variables_of(settings))
        finally:
            run.process.send_signal(signal.SIGCONT)
    assert code == 1
    [line] = [line for line in lines if line.startswith(f"{part}:")]
    assert f" {run.process.pid} on " in line
    assert "is frozen, or cannot reach Postgres: it was last heard of" in line
    assert "(version 0.1.0, started " in line


async def test_a_killed_process_is_named_until_another_replaces_it(
    tmp_path: Path, settings: Settings, pool: Pool
) -> None:
    """A worker that was killed (-9) is named; once a new one runs in its place, all is well."""
    async with child(tmp_path, settings, pool, "worker") as run:
        run.process.kill()
        await run.process.wait()
        await silence(pool, run.process.pid)
        code, lines = await doctor(variables_of(settings))
    [line] = [line for line in lines if line.startswith("Workers:")]
    assert (code, f"{run.process.pid} on {os.uname().nodename} was killed" in line) == (1, True)
    async with whole_service(settings, pool):
        assert "Workers: ok" in (await doctor(variables_of(settings)))[1]


async def test_a_process_that_stops_in_order_is_forgotten(tmp_path: Path, settings: Settings, pool: Pool) -> None:
    """SIGTERM removes the process from the table, so that nobody misses it."""
    async with child(tmp_path, settings, pool, "worker") as run:
        assert await run.end() == 0
    assert await pool.fetchval("SELECT count(*) FROM processes") == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"PORTONE_IMP_SECRET": "wrong", "PORTONE_TIERS": "abc"},
        {"REDIS_URL": "redis://:wrong@127.0.0.1:1/0"},
        {"PORTONE_API_URL": "http://portone.invalid"},
    ],
    ids=["a refused key", "no Redis", "no PortOne"],
)
async def test_a_planted_fault_leaves_no_traceback(
    tmp_path: Path, settings: Settings, pool: Pool, changed: dict[str, str]
) -> None:
    """A worker and a receiver that were set up wrongly report themselves, and log no traceback."""
    async with child(tmp_path, settings, pool, "worker", **changed) as worker:
        async with child(tmp_path, settings, pool, "serve", **changed) as receiver:
            await asyncio.sleep(0)
        assert await worker.end() == 0
    for run in (worker, receiver):
        assert not [line for line in run.lines if "Traceback" in line or "exception" in line], run.lines


def a_worker(**facts: Any) -> RunningProcess:
    """Return a worker that is well but for these facts."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    well = {
        "kind": "worker", "host": "other-host", "pid": 7, "version": version("portone-orders"), "started_at": began,
        "seen_at": began, "running_seconds": 3600.0, "silent_seconds": 1.0, "idle_seconds": 2.0,
        "clock_ahead_seconds": 0.0, "trouble": None, "refused_accounts": {}, "away_accounts": {}, "settings": {},
    }  # fmt: skip
    return RunningProcess(**{**well, **facts})


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"idle_seconds": 60.0}, "lives, but has taken up no notices for 60 s: restart it."),
        ({"idle_seconds": None}, "lives, but has taken up no notices for 3600 s: restart it."),
        ({"version": "0.0.1"}, "is of version 0.0.1, and this command is of 0.1.0: restart it with this version."),
        ({"clock_ahead_seconds": -90.0}, "has a clock 90 s behind Postgres': set its machine's clock (NTP)."),
    ],
)
def test_a_worker_that_lives_but_is_not_well_is_named(facts: dict[str, Any], fault: str) -> None:
    """A worker that takes up nothing, is of another version, or has a wrong clock, is named with what to do."""
    assert faults_of("worker", [a_worker(**facts)]) == [f"The worker 7 on other-host {fault}"]


def test_one_that_was_taken_away_is_missed_for_an_hour() -> None:
    """A silent worker is named for an hour while others work, and for as long as it is known if none does."""
    recent, old = a_worker(pid=8, silent_seconds=60.0), a_worker(pid=9, silent_seconds=7200.0)
    [fault] = faults_of("worker", [a_worker(), recent, old])
    assert fault.startswith("The worker 8 on other-host is frozen, was killed, or cannot reach Postgres: it was last ")
    assert len(faults_of("worker", [old])) == 1


@pytest.mark.parametrize(
    ("postgres", "portone", "faults"),
    [
        (0.0, 0.0, []),
        (None, None, []),
        (1.0, -20.0, []),
        (None, 3600.0, ["This machine's clock is 3600 s behind PortOne's: set it by NTP."]),
        (3600.0, 3600.0, ["This machine's clock is 3600 s behind PortOne's: set it by NTP."]),
        (-3600.0, 0.0, ["Postgres' clock is 3600 s behind PortOne's: set it by NTP."]),
        (60.0, None, ["Postgres' clock is 60 s ahead of this machine's, and one of them is wrong: set it by NTP."]),
        (0.0, -60.0, ["The clocks of this machine and of Postgres are 60 s ahead of PortOne's: set it by NTP."]),
    ],
)
def test_the_clock_that_is_wrong_is_named(postgres: float | None, portone: float | None, faults: list[str]) -> None:
    """PortOne's clock is right; whichever other clock differs from it is named."""
    assert clock_faults(postgres, portone) == faults


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"tables": [Table("notices", 100, 99_000, switched_off=False)]}, None),
        (
            {"tables": [Table("notices", 300_000, 200_000, switched_off=False)]},
            "The table notices has 200,000 dead rows beside 300,000 live ones: run VACUUM notices, and give autovacuum"
            " more workers.",
        ),
        ({"oldest": OldTransaction(7, "a report", 60.0)}, None),
        (
            {"oldest": OldTransaction(7, "a report", 7200.0)},
            "The transaction of pid 7 (a report) has been open for 2 h, and no dead row can be removed meanwhile: end"
            " it there, or with SELECT pg_terminate_backend(7).",
        ),
        (
            {"age": 1_500_000_000},
            "The database's oldest row is 1,500,000,000 transactions old, and beyond 2,000,000,000 Postgres stops"
            " writing: run VACUUM FREEZE, and find out what keeps autovacuum from it.",
        ),
    ],
)
def test_a_vacuum_that_does_not_keep_up_is_named(changed: dict[str, Any], fault: str | None) -> None:
    """Dead rows, a transaction that keeps them, and old rows are named with what to do, once they are many or old."""
    well = VacuumFacts(off=[], tables=[], oldest=None, age=1)
    assert vacuum_faults(replace(well, **changed)) == ([fault] if fault else [])


def test_a_disk_that_is_nearly_full_is_named() -> None:
    """A disk is named before it is full, and a log that nobody reads before it fills one."""
    folder = Path("/data")
    assert fullness(folder, 2**30) is None
    assert fullness(folder, 2**27) == (
        "The disk of /data has only 128 MiB left: free space on it, or move that folder to another disk."
    )
    assert (fullness(folder, 0) or "").startswith("The disk of /data is full: free space on it")
    assert kept_log("old", 3 * 2**30) == (
        "Nobody reads Postgres' replication slot old, which keeps 3 GiB of its log: run"
        " SELECT pg_drop_replication_slot('old')."
    )


@pytest.mark.parametrize(
    ("facts", "several", "fault"),
    [
        (StandbyFacts("", "on", 0, 0), False, ""),
        (StandbyFacts("*", "on", 1, 1), True, ""),
        (StandbyFacts("*", "remote_apply", 1, None), True, ""),
        (StandbyFacts("", "on", 1, 0), False, "The standby is asynchronous (synchronous_standby_names is empty), so"),
        (StandbyFacts("", "on", 0, 0), True, "The standby is asynchronous (synchronous_standby_names is empty), so"),
        (StandbyFacts("*", "local", 1, 1), True, "Postgres' synchronous_commit is local, which waits for no standby,"),
        (StandbyFacts("*", "off", 1, 1), True, "Postgres' synchronous_commit is off, so a crash or a failover loses"),
        (StandbyFacts("*", "on", 0, 0), True, "Every commit waits for a standby (synchronous_standby_names is *), and"),
    ],
)
def test_a_standby_that_would_lose_something_is_named(facts: StandbyFacts, several: bool, fault: str) -> None:
    """A standby that commits do not wait for is named with what is lost then; having none is no fault."""
    faults = standby_faults(facts, several=several)
    assert [sentence[: len(fault)] for sentence in faults] == ([fault] if fault else [])


async def test_a_standby_that_is_read_and_has_nothing_is_named(settings: Settings, stores: Stores, pool: Pool) -> None:
    """READ_DATABASE_URL that names another database, or nothing, is a fault; the service's own database is none."""
    await pool.execute(
        "INSERT INTO processes (id, kind, host, pid, version, clock_ahead_seconds, settings)"
        " VALUES (gen_random_uuid(), 'worker', 'host', 1, '', 0, '{}')"
    )
    faults = dict[str, list[str]]()
    for url in (settings.database_url.get_secret_value(), stores.postgres.url(), "postgresql://x@127.0.0.1:1/nothing"):
        faults[url] = await check_standby(settings.model_copy(update={"read_database_url": SecretStr(url)}))
    own, empty, away = faults.values()
    assert own == []
    assert [sentence.partition(",")[0] for sentence in empty] == [
        "The standby in READ_DATABASE_URL has none of this service's data"
    ]
    assert [sentence.rpartition(" in ")[2] for sentence in away] == ["READ_DATABASE_URL."]
