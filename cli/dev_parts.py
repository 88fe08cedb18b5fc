"""The parts of `dev`: started in the order in which they need each other, stopped in the opposite one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from cli.dev_plan import Plan
from cli.embedded.postgres import Postgres
from cli.embedded.redis import Redis
from cli.http_probe import answers_ok
from cli.processes import GENTLE, Process, Program, stop_recorded
from cli.screen import Screen
from cli.supervisor import Part, keep_running
from service.settings import SettingsError

Result = TypeVar("Result")

_READY_SECONDS = 30.0
_RETRY_SECONDS = 1.0
# Stopped one group after the other: nobody loses what he works with before he has ended.
_GROUPS = (("receiver", "worker"), ("sandbox",), ("Postgres", "Redis"))


class Parts:
    """What runs."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self.plan, self._screen = plan, screen
        state, given = plan.state, plan.settings
        self._postgres = Postgres(state.path / "postgres", state.log("postgres"), say=screen.warn)
        self._redis = Redis(state.path / "redis", state.log("redis"), record=state.record("redis"))
        # The addresses in our own env file, sourced in the shell that runs us, are not somebody else's stores.
        self._given_database = _given("DATABASE_URL", given.database_url, self._postgres.owns)
        self._given_redis = _given("REDIS_URL", given.redis_url, self._redis.owns)
        self._parts: dict[str, Part] = {}

    @property
    def stores(self) -> dict[str, str]:
        """Their settings, once they run."""
        return {
            "DATABASE_URL": self._given_database or self._postgres.url(),
            "REDIS_URL": self._given_redis or self._redis.url(),
        }

    @property
    def data_folders(self) -> list[Path]:
        """Where the data is: STATE_DIR and, where root's Postgres keeps its data elsewhere, that folder."""
        home, state = self._postgres.home, self.plan.state.path
        return [state] if self._given_database or home.is_relative_to(state) else [state, home]

    @property
    def started(self) -> bool:
        """Whether anything was started."""
        return bool(self._parts)

    async def stop_leftovers(self) -> None:
        """End what a run that crashed left; the embedded Postgres looks after its own."""
        for name in ("receiver", "worker", "sandbox", "redis"):
            pid = await stop_recorded(self.plan.state.record(name), GENTLE)
            if pid is not None:
                self._screen.warn(f"A {name} left by a run that crashed (pid {pid}) was stopped")

    async def start(self) -> None:
        """Start all; ready is when the receiver can accept."""
        async with _together() as group:
            group.create_task(self._start_postgres())
            group.create_task(self._start_redis())
            if self.plan.has_sandbox:
                probe = partial(answers_ok, "127.0.0.1", self.plan.settings.sandbox_port, "/healthz")
                group.create_task(self._start_program(self.plan.sandbox(), self.plan.sandbox_url, probe))
            else:
                self._screen.done(f"PortOne is the given one, {self.plan.settings.portone_api_url}; no sandbox")
        probe = partial(answers_ok, self.plan.host, self.plan.settings.port, "/readyz")
        async with _together() as group:
            receiver = self.plan.ours("receiver", "serve", self.stores)
            worker = self.plan.ours("worker", "worker", self.stores)
            group.create_task(self._start_program(receiver, self.plan.base_url, probe))
            group.create_task(self._start_program(worker, "arq", _at_once))

    async def keep_running(self) -> None:
        """Start again whatever dies, until cancelled."""
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

        url = self._given_database or self._postgres.url()
        applied = await self._reach("Postgres", "DATABASE_URL", url, partial(migrate, url), CannotConnectNowError)
        whose = f"the given one, {_place(url)}" if self._given_database else f"embedded, {_place(url)}"
        self._screen.done(f"Postgres ({whose}), migrations applied: {', '.join(applied) or 'none, all were there'}")

    async def _start_redis(self) -> None:
        if self._given_redis:
            await self._reach_redis(self._given_redis)
            return
        self._screen.step("Redis")
        process = self._redis.prepare()
        await self._start_part(Part(process, partial(self._redis.start, process)))
        self._screen.done(f"Redis (embedded, {_place(self._redis.url())})")

    async def _reach_redis(self, url: str) -> None:
        from redis import exceptions as redis
        from redis.asyncio import Redis as Client

        async with Client.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            await self._reach("Redis", "REDIS_URL", url, client.ping, redis.ConnectionError, redis.TimeoutError)
        self._screen.done(f"Redis (the given one, {_place(url)})")

    async def _start_program(self, program: Program, address: str, probe: Callable[[], Awaitable[bool]]) -> None:
        self._screen.step(program.name)
        process = Process(program)

        async def start() -> None:
            process.start()
            await process.wait_ready(probe, _READY_SECONDS)

        await self._start_part(Part(process, start))
        self._screen.done(f"{program.name} ({address})")

    async def _start_part(self, part: Part) -> None:
        self._parts[part.process.program.name] = part  # before it starts: it is to be stopped also half-way
        await part.start()

    async def _reach(
        self, name: str, setting: str, url: str, call: Callable[[], Awaitable[Result]], *unreachable: type[Exception]
    ) -> Result:
        """Call until the server answers, saying once that it does not."""
        said = False
        while True:
            try:
                return await call()
            except Exception as error:
                if not isinstance(error, (OSError, *unreachable)):  # a time-out is an OSError
                    raise
                reason = (str(error) or type(error).__name__).partition("\n")[0]
            if not said:
                advice = f"start it, or correct {setting}; it is tried again every second"
                self._screen.warn(f"{name} at {_place(url)} is not reachable ({reason}): {advice}")
                said = True
            await asyncio.sleep(_RETRY_SECONDS)


async def _at_once() -> bool:
    """A worker has nobody to tell that it is ready: it works, or it ends and its supervisor says so."""
    return True


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Several steps at once; the first that fails ends the others, and its error is the one that counts."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _given(setting: str, secret: SecretStr, is_ours: Callable[[str], bool]) -> str:
    """The URL of somebody else's store, empty where there is none."""
    url = secret.get_secret_value()
    try:
        _place(url)
    except ValueError:  # whose text may hold a part of the password
        raise SettingsError(f"{setting} is not a URL: percent-encode what is special in its password.") from None
    return "" if is_ours(url) else url


def _place(url: str) -> str:
    """Where a server is, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'a socket'}{f':{parts.port}' if parts.port else ''}{parts.path}"
