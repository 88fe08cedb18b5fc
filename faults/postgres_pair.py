"""A Postgres with a synchronous standby that can take over, from the programs in the embedded Postgres' wheel."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from signal import Signals
from urllib.parse import urlsplit

import asyncpg

from cli.embedded.postgres import Postgres
from cli.processes import Process
from faults.full_disk import FullDisk, fill_postgres, write_until_full
from faults.proxy import Proxy
from faults.topology import Failover, Note, port_of, remove_home, stop_all, with_hosts

NAMES = ("postgres-1", "postgres-2")
KINDS = (
    "kill of Postgres' primary",
    "stop of Postgres' primary",
    "cut between Postgres' primary and standby",
    "long cut between Postgres' primary and standby",
    "full disk of Postgres' primary",
)
# Longer than anybody waits for a commit, and than a sweep takes to come.
_LONG_SECONDS = 6.0
_COPY_SECONDS = 60.0
_PROMOTE_SECONDS = 30
_CONNECT_SECONDS = 5.0
_STREAMING_SECONDS = 60.0
_POLL_SECONDS = 0.02
_SETTINGS = {
    # A standby that comes back finds what it missed, and pg_rewind what it must undo.
    "wal_keep_size": "256MB",
    # A cut connection is found out about within seconds.
    "wal_sender_timeout": "3s",
    "wal_receiver_timeout": "3s",
    "wal_retrieve_retry_interval": "100ms",
}


class Standby(Postgres):
    """A server whose cluster is a copy of another's, which it follows."""

    def __init__(self, folder: Path, log: Path, source: Callable[[], str], *, scratch: bool = False) -> None:
        """`source`: the URL at which it reaches the server to follow."""
        super().__init__(folder, log, scratch=scratch)
        self._source = source

    def _known_password(self) -> str:
        return urlsplit(self._source()).password or ""

    async def _make_cluster(self, folder: Path) -> None:
        await self.run_program(
            "pg_basebackup",
            ("-D", str(folder), "-d", self._source(), "-R", "-X", "stream", "-c", "fast"),
            _COPY_SECONDS,
        )


class PostgresPair:
    """Two servers. The one that serves waits for the other before it answers a commit.

    After a failover it serves alone, and waits for nobody, until `restore` has made the other one its standby. A struck
    server that is started again meanwhile believes that it is the primary still.
    """

    def __init__(self, folder: Path, *, scratch: bool = False) -> None:
        self.primary, self.standby = NAMES
        self.processes: dict[str, Process] = {}
        # Each server's way to the other, while it is the standby.
        self.links: dict[str, Proxy] = {}
        places = [(folder / name, folder / f"{name}.log") for name in NAMES]
        self.servers: dict[str, Postgres] = {
            NAMES[0]: Postgres(*places[0], scratch=scratch),
            NAMES[1]: Standby(*places[1], lambda: self._source_of(NAMES[1]), scratch=scratch),
        }
        self._is_whole = False

    async def start(self) -> None:
        for name, other in (NAMES, NAMES[::-1]):
            self.processes[name] = await self.servers[name].prepare()
            await self.start_again(name)
            self.links[other] = Proxy(f"{other}>{name}", [port_of(self.servers[name].url())])
            await self.links[other].start()
            if name == self.primary:
                await self._set(name, _SETTINGS)
        await self._wait_for_each_commit()

    async def stop(self) -> None:
        await asyncio.gather(*(link.stop() for link in self.links.values()))
        # "Immediate": nobody reads this data again.
        await asyncio.gather(*(_end(process, Signals.SIGQUIT) for process in self.processes.values()))
        await stop_all(self.processes)
        for server in self.servers.values():
            remove_home(server)

    async def start_again(self, name: str) -> None:
        await self.servers[name].start(self.processes[name])

    @property
    def ports(self) -> Mapping[str, int]:
        return {name: port_of(server.url()) for name, server in self.servers.items()}

    def url(self) -> str:
        return self.servers[self.primary].url()

    def url_through(self, ports: Mapping[str, int]) -> str:
        url = with_hosts(self.url(), [ports[name] for name in NAMES])
        return f"{url}?target_session_attrs=read-write"

    async def fail_over(self, rng: random.Random, note: Note) -> Failover | None:
        kind = rng.choice(KINDS)
        note(f"{kind}, {self.primary}")
        began, struck, disk = asyncio.get_running_loop().time(), self.processes[self.primary], None
        match KINDS.index(kind):
            case 0:
                await _end(struck, Signals.SIGKILL)
            case 1:
                await _end(struck, Signals.SIGINT)
            case 2:
                self.links[self.standby].go_half_open()
            case 3:
                self.links[self.standby].go_half_open()
                await asyncio.sleep(_LONG_SECONDS)
            case _:
                disk = await self.fill_disk(self.primary)
                await write_until_full(self.url())
        await self.promote()
        if disk:
            disk.free()  # it then believes that it is the primary still
        seconds = asyncio.get_running_loop().time() - began
        note(f"{self.primary} is the primary after {seconds:.2f} s")
        return Failover("Postgres", kind, began, seconds)

    async def fill_disk(self, name: str) -> FullDisk:
        return await fill_postgres(self.processes[name], self.servers[name].url("postgres"))

    async def promote(self) -> None:
        """Let the standby take over, which then waits for no other: there is none that follows it."""
        self._is_whole = False
        self.primary, self.standby = self.standby, self.primary
        await self._set(self.primary, {"synchronous_standby_names": ""})
        async with self.session(self.primary) as session:
            assert await session.fetchval("SELECT pg_promote(true, $1)", _PROMOTE_SECONDS)  # noqa: S101

    async def restore(self) -> None:
        """Undo what the demoted server has beyond the promoted one, and let it follow."""
        if self._is_whole:
            return
        demoted = self.processes[self.standby]
        if demoted.running:
            await _end(demoted, Signals.SIGKILL)
        self.links[self.standby].heal()
        server = self.servers[self.standby]
        words = (
            "-D",
            str(server.home / "data"),
            "--source-server",
            self._source_of(self.standby),
            "--write-recovery-conf",
        )
        await server.run_program("pg_rewind", words, _COPY_SECONDS)
        await self.start_again(self.standby)
        await self._wait_for_each_commit()

    async def _wait_for_each_commit(self) -> None:
        """Have the primary wait for the standby from now on, once that follows it."""
        await self._set(self.primary, {"synchronous_standby_names": "*"})
        async with asyncio.timeout(_STREAMING_SECONDS), self.session(self.primary) as session:
            query = "SELECT sync_state FROM pg_stat_replication"
            while await session.fetchval(query) != "sync":  # noqa: ASYNC110 - it becomes true in Postgres
                await asyncio.sleep(_POLL_SECONDS)
        self._is_whole = True

    def _source_of(self, name: str) -> str:
        """Return the URL at which a standby reaches the other server."""
        other = next(server for server in NAMES if server != name)
        return with_hosts(self.servers[other].url("postgres"), [self.links[name].port])

    async def _set(self, name: str, settings: Mapping[str, str]) -> None:
        async with self.session(name) as session:
            for setting, value in settings.items():
                await session.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
            await session.execute("SELECT pg_reload_conf()")

    @contextlib.asynccontextmanager
    async def session(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        """Open a session at one server, past every proxy."""
        session = await asyncpg.connect(self.servers[name].url("postgres"), timeout=_CONNECT_SECONDS)
        try:
            yield session
        finally:
            session.terminate()


async def _end(process: Process, number: Signals) -> None:
    if process.pid and process.running:
        os.kill(process.pid, number)
        await process.ended()
