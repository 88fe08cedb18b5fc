"""Real stores for every test: each pytest process starts its own scratch Postgres and Redis, and removes them."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis as RedisClient

from cli.embedded.homes import homes_of, remove_orphans
from cli.embedded.postgres import DATABASE, Postgres
from cli.embedded.redis import Redis
from cli.files import read_or_none
from cli.processes import Process, birth
from faults.pooler import Pooler, make_pooler
from faults.rows import migrate_strictly
from sandbox.config import SandboxConfig
from service.db.pool import Pool, open_pool
from service.logs import configure_logs
from service.settings import Settings
from tests import node
from tests.alerts import promtool
from tests.browser import chromium
from tests.deploy import nginx
from tests.sandbox_client import RunningSandbox, running_sandbox

SERVICE_KEY = "test-service-key"


@dataclass(frozen=True)
class Stores:
    """The two servers of this pytest process; the Postgres' own database is the migrated template."""

    postgres: Postgres
    redis: Redis
    processes: tuple[Process, ...]
    pooler: Pooler | None = None

    @classmethod
    async def start(cls, folder: Path, *, pooled: bool = False) -> "Stores":
        postgres = Postgres(folder / "postgres", folder / "postgres.log", scratch=True)
        redis = Redis(folder / "redis", folder / "redis.log", embedded=True)
        processes = (await postgres.prepare(), redis.prepare())
        await asyncio.gather(postgres.start(processes[0]), redis.start(processes[1]))
        await migrate_strictly(postgres.url())
        if not pooled:
            return cls(postgres, redis, processes)
        pooler = make_pooler(folder, postgres.url())
        await pooler.start()
        return cls(postgres, redis, (pooler.process, *processes), pooler)

    def pooled(self, url: str) -> str:
        """Return the address behind PgBouncer, with --pooler; else the same."""
        return self.pooler.url(url) if self.pooler else url

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self.processes))
        shutil.rmtree(self.postgres.home, ignore_errors=True)  # elsewhere, where `nobody` cannot enter ours


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pooler", action="store_true", help="let receivers reach Postgres through PgBouncer")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests of PgBouncer, which `make pooler` runs: Debian's own is often too old."""
    return True if collection_path.name == "pooler" and not config.getoption("pooler") else None


@pytest.fixture(scope="session", autouse=True)
def _own_settings_only() -> Iterator[None]:
    """Tests ignore the environment of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.lower() in Settings.model_fields:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _leave_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests remove the folders that root's Postgres makes elsewhere, also those of a run that was killed."""
    remove_orphans(Path(tempfile.gettempdir()))
    _remove_folders_of_killed_runs()
    yield
    left = homes_of(tmp_path_factory.getbasetemp())
    for home in left:
        shutil.rmtree(home)
    assert not left


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    """Log lines go to pytest, also those of a command that a test runs in this process."""
    configure_logs()


@pytest.fixture(scope="session")
def stores(pytestconfig: pytest.Config) -> Iterator[Stores]:
    folder = Path(tempfile.mkdtemp(prefix="portone-orders-test-", dir=_in_memory()))
    (folder / "pid").write_text(f"{os.getpid()} {birth(os.getpid())}")
    folder.chmod(0o711)  # so that root's Postgres, which runs as `nobody`, can have its data in there too
    try:
        running = asyncio.run(Stores.start(folder, pooled=pytestconfig.getoption("pooler")))
        yield running
        asyncio.run(running.stop())
    finally:
        shutil.rmtree(folder)


def _remove_folders_of_killed_runs() -> None:
    for note in Path(_in_memory() or tempfile.gettempdir()).glob("portone-orders-test-*/pid"):
        pid, _, born = (read_or_none(note) or "").partition(" ")
        if pid.isdigit() and birth(int(pid)) != born:
            shutil.rmtree(note.parent, ignore_errors=True)


def _in_memory() -> str | None:
    """Return a folder whose files cost no disk. Copying a database makes 300: 10 ms here, 30 to 400 ms on ext4."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None


@pytest.fixture
async def database_url(stores: Stores) -> AsyncIterator[str]:
    """A database of the test's own, with all migrations applied."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(stores.postgres.url("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE} STRATEGY file_copy")
        yield stores.postgres.url(name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def pool(stores: Stores, database_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(stores.pooled(database_url))
    yield opened
    await opened.close()


@pytest.fixture
async def redis_url(stores: Stores) -> str:
    """The Redis of this pytest process, emptied; its tests run one after the other."""
    url = stores.redis.url()
    async with RedisClient.from_url(url) as client:
        await client.flushall()
    return url


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A stand-in for PortOne of the test's own."""
    async with running_sandbox(SandboxConfig()) as running:
        yield running


@pytest.fixture
def settings(stores: Stores, database_url: str, redis_url: str, sandbox: RunningSandbox) -> Settings:
    """Settings with which the receiver and the worker run on the test's own databases and sandbox."""
    return Settings(
        _env_file=None,
        database_url=stores.pooled(database_url),
        direct_database_url=database_url if stores.pooler else "",
        redis_url=redis_url,
        portone_api_url=sandbox.url,
        portone_imp_key=sandbox.imp_key,
        portone_imp_secret=sandbox.imp_secret,
        service_keys=(SERVICE_KEY,),
        checkout_secrets=("a secret of the tests, long enough",),
        completions_per_client=1000.0,  # a test is one client, and quicker than any browser
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it in the last lines when a tool is missing: a skipped test is easily overlooked."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for title, missing in (
        ("NO BROWSER", chromium.MISSING),
        ("NO TYPESCRIPT", node.MISSING),
        ("NO NGINX", nginx.MISSING),
        ("NO PROMTOOL", promtool.MISSING),
    ):
        if count := sum(missing in reason for reason in reasons):
            terminalreporter.section(title, red=True, bold=True)
            terminalreporter.write_line(f"{count} tests were SKIPPED. {missing}")
