"""Start and stop the parts of `dev`: in the order of their dependencies, and in the reverse order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from cli.addresses import place
from cli.dev_plan import Plan
from cli.embedded.postgres import Postgres
from cli.embedded.redis import Redis
from cli.http_probe import answers_ok
from cli.processes import GENTLE, Process, Program, stop_recorded
from cli.screen import Screen
from cli.supervisor import Part, keep_running
from service.settings import Settings, SettingsError

Result = TypeVar("Result")
_READY_SECONDS = 30.0
_RETRY_SECONDS = 1.0
# Stopped group by group, so that no process loses a server that it still uses.
_GROUPS = (("receiver", "worker"), ("sandbox",), ("Postgres", "Redis"))


class LocalParts:
    """The processes of one run."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self.plan, self._screen = plan, screen
        state, settings = plan.state, plan.settings
        self._postgres = Postgres(state.path / "postgres", state.log("postgres"), say=screen.warn)
        self._redis = Redis(state.path / "redis", state.log("redis"), record=state.record("redis"))
        # The shell may have sourced our own env file. The URLs in it are the embedded servers', not given ones.
        self._given_database = _external_url("DATABASE_URL", settings.database_url, self._postgres.owns)
        # It belongs to a given DATABASE_URL, and to no other.
        self._given_direct = settings.direct_database_url.get_secret_value() if self._given_database else ""
        self._given_redis = _external_url("REDIS_URL", settings.redis_url, self._redis.owns)
        self._parts: dict[str, Part] = {}

    @property
    def databases(self) -> dict[str, str]:
        """The settings that name both databases, known once they run."""
        return {
            "DATABASE_URL": self._given_database or self._postgres.url(),
            "DIRECT_DATABASE_URL": self._given_direct,
            "REDIS_URL": self._given_redis or self._redis.url(),
        }

    @property
    def data_folders(self) -> list[Path]:
        """The folders that hold the data: STATE_DIR and, if root's Postgres keeps its data elsewhere, that folder."""
        home, state = self._postgres.home, self.plan.state.path
        return [state] if self._given_database or home.is_relative_to(state) else [state, home]

    @property
    def started(self) -> bool:
        """True once any part was started."""
        return bool(self._parts)

    async def stop_leftovers(self) -> None:
        """Stop the processes that a crashed run left. The embedded Postgres stops its own."""
        for name in ("receiver", "worker", "sandbox", "redis"):
            pid = await stop_recorded(self.plan.state.record(name), GENTLE)
            if pid is not None:
                self._screen.warn(f"Stopped a {name} (pid {pid}) that a crashed run left behind")

    async def start(self) -> None:
        """Start everything. Returns once the receiver can accept notices."""
        async with _together() as group:
            group.create_task(self._start_postgres())
            group.create_task(self._start_redis())
            if self.plan.has_sandbox:
                probe = partial(answers_ok, "127.0.0.1", self.plan.settings.sandbox_port, "/healthz")
                group.create_task(self._start_program(self.plan.sandbox(), self.plan.sandbox_url, probe))
            else:
                group.create_task(self._try_portone())
        probe = partial(answers_ok, self.plan.host, self.plan.settings.port, "/readyz")
        async with _together() as group:
            receiver = self.plan.service_program("receiver", "serve", self.databases)
            worker = self.plan.service_program("worker", "worker", self.databases)
            group.create_task(self._start_program(receiver, self.plan.base_url, probe))
            group.create_task(self._start_program(worker, "arq", _at_once))

    async def keep_running(self) -> None:
        """Restart each part that dies, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in self._parts.values():
                group.create_task(keep_running(part, self._screen))

    async def stop(self) -> None:
        for names in _GROUPS:
            await asyncio.gather(*(self._parts[name].process.stop() for name in names if name in self._parts))

    async def _start_postgres(self) -> None:
        if not self._given_database:
            self._screen.step("Postgres")
            process = await self._postgres.prepare()
            await self._start_part(Part(process, partial(self._postgres.start, process)))
        await self._migrate()

    async def _migrate(self) -> None:
        from asyncpg import CannotConnectNowError

        from service.db.migrate import migrate

        url = self._given_direct or self._given_database or self._postgres.url()
        applied = await self._reach("Postgres", url, partial(migrate, url), CannotConnectNowError)
        origin = f"given, {place(url)}" if self._given_database else f"embedded, {place(url)}"
        self._screen.done(f"Postgres ({origin}), migrations applied: {', '.join(applied) or 'none, it is up to date'}")

    async def _start_redis(self) -> None:
        if self._given_redis:
            await self._reach_redis(self._given_redis)
            return
        self._screen.step("Redis")
        process = self._redis.prepare()
        await self._start_part(Part(process, partial(self._redis.start, process)))
        self._screen.done(f"Redis (embedded, {place(self._redis.url())})")

    async def _reach_redis(self, url: str) -> None:
        from redis import exceptions as redis

        from cli.checks.databases import check_redis
        from service.redis.queue import connect

        client = connect(url, socket_timeout=5, socket_connect_timeout=5)
        try:
            await self._reach("Redis", url, client.ping, redis.ConnectionError, redis.TimeoutError)
        finally:
            await client.aclose(close_connection_pool=True)

        await self._say_faults(f"Redis (given, {place(url)})", check_redis)

    async def _try_portone(self) -> None:
        from cli.checks.portone import check_portone

        await self._say_faults(f"PortOne (given, {self.plan.settings.portone_api_url}), no sandbox", check_portone)

    async def _say_faults(self, part: str, check: Callable[[Settings], Awaitable[list[str]]]) -> None:
        """Report a given part as done, or each of its faults. A fault does not keep the rest from running."""
        faults = await check(self.plan.settings)
        for sentence in faults:
            self._screen.fail(sentence)
        if not faults:
            self._screen.done(part)

    async def _start_program(self, program: Program, address: str, probe: Callable[[], Awaitable[bool]]) -> None:
        self._screen.step(program.name)
        process = Process(program)

        async def start() -> None:
            process.start()
            await process.wait_ready(probe, _READY_SECONDS)

        await self._start_part(Part(process, start))
        self._screen.done(f"{program.name} ({address})")

    async def _start_part(self, part: Part) -> None:
        self._parts[part.process.program.name] = part  # before it starts, so that stop() also ends it half-way
        await part.start()

    async def _reach(
        self, name: str, url: str, call: Callable[[], Awaitable[Result]], *unreachable: type[Exception]
    ) -> Result:
        """Repeat the call until the server answers. Warn once if it does not."""
        warned = False
        while True:
            try:
                return await call()
            except Exception as error:
                if not isinstance(error, (OSError, *unreachable)):  # a time-out is an OSError
                    raise
                from service.reasons import postgres_reason, redis_reason

                reason = (postgres_reason if name == "Postgres" else redis_reason)(error)
            if not warned:
                advice = f"{reason.advice}; this is retried every second"
                self._screen.warn(f"{name} at {place(url)} is not reachable, because {reason.text}: {advice}")
                warned = True
            await asyncio.sleep(_RETRY_SECONDS)


async def _at_once() -> bool:
    """Return True: a worker does not report when it is ready. If it fails it ends, and its supervisor says so."""
    return True


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Run several steps at once. The first that fails cancels the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _external_url(setting: str, secret: SecretStr, is_ours: Callable[[str], bool]) -> str:
    """Return the URL of a server that is not ours, or an empty string."""
    url = secret.get_secret_value()
    try:
        place(url)
    except ValueError:  # its text may hold a part of the password
        raise SettingsError(f"{setting} is not a URL: percent-encode the special characters in its password.") from None
    return "" if is_ours(url) else url
