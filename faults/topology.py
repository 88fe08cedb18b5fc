"""The servers of a stack's databases: one each, or several of which one can take over from another.

A stack has a `Topology` for Postgres and one for Redis. The storm and the episode know no more of them than this.
"""

import asyncio
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from cli.embedded.postgres import Postgres
from cli.embedded.redis import Redis
from cli.processes import Process
from faults.full_disk import FullDisk, fill_postgres, fill_redis

# Takes a line about what happens now.
Note = Callable[[str], None]


@dataclass(frozen=True)
class Failover:
    """A failover as it was injected. `began`: the loop's time at which the old server was struck."""

    database: str
    kind: str
    began: float
    promoted_seconds: float


class Topology(Protocol):
    """The servers of one database.

    `processes` has them by name. Each part of the service reaches each server through a proxy of its own, which the
    stack names `part>server`.
    """

    processes: dict[str, Process]

    async def start(self) -> None:
        """Start every server. Returns when the database answers."""

    async def stop(self) -> None:
        """Stop every server, and remove what it keeps outside the stack's folder."""

    async def start_again(self, name: str) -> None:
        """Start a server that has ended."""

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each server by its name."""

    def url(self) -> str:
        """Return the address of the server that serves now, past every proxy: for the harness itself."""

    def url_through(self, ports: Mapping[str, int]) -> str:
        """Return the service's URL of the database, with a port (a proxy's) for each server by its name."""

    async def fail_over(self, rng: random.Random, note: Note) -> Failover | None:
        """Strike the serving server in a way that `rng` chooses, and let another take over. None: there is no other."""

    async def fill_disk(self, name: str) -> FullDisk:
        """Fill the disk of a server that runs."""

    async def restore(self) -> None:
        """Make the servers whole again, for the next episode."""


class LonePostgres:
    """One Postgres, which comes back where it was."""

    def __init__(self, folder: Path, *, scratch: bool = False) -> None:
        self._postgres = Postgres(folder / "postgres", folder / "postgres.log", scratch=scratch)
        self.processes: dict[str, Process] = {}

    async def start(self) -> None:
        self.processes["postgres"] = await self._postgres.prepare()
        await self.start_again("postgres")

    async def stop(self) -> None:
        await stop_all(self.processes)
        remove_home(self._postgres)

    async def start_again(self, name: str) -> None:
        await self._postgres.start(self.processes[name])

    @property
    def ports(self) -> Mapping[str, int]:
        return {"postgres": port_of(self.url())}

    def url(self) -> str:
        return self._postgres.url()

    def url_through(self, ports: Mapping[str, int]) -> str:
        return with_hosts(self.url(), [ports["postgres"]])

    async def fail_over(self, rng: random.Random, note: Note) -> Failover | None:
        return None

    async def fill_disk(self, name: str) -> FullDisk:
        return await fill_postgres(self.processes[name], self.url())

    async def restore(self) -> None:
        pass


class LoneRedis:
    """One Redis, which comes back where it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "redis"
        self._redis = Redis(self._folder, folder / "redis.log", embedded=True)
        self.processes: dict[str, Process] = {}

    async def start(self) -> None:
        self.processes["redis"] = self._redis.prepare()
        await self.start_again("redis")

    async def stop(self) -> None:
        await stop_all(self.processes)

    async def start_again(self, name: str) -> None:
        await self._redis.start(self.processes[name])

    @property
    def ports(self) -> Mapping[str, int]:
        return {"redis": port_of(self.url())}

    def url(self) -> str:
        return self._redis.url()

    def url_through(self, ports: Mapping[str, int]) -> str:
        return with_hosts(self.url(), [ports["redis"]])

    async def fail_over(self, rng: random.Random, note: Note) -> Failover | None:
        return None

    async def fill_disk(self, name: str) -> FullDisk:
        return fill_redis(self.processes[name], self._folder)

    async def restore(self) -> None:
        pass


async def stop_all(processes: Mapping[str, Process]) -> None:
    await asyncio.gather(*(process.stop() for process in processes.values()))


def remove_home(postgres: Postgres) -> None:
    """Remove a cluster that is not in the stack's folder, because `nobody` cannot enter that."""
    shutil.rmtree(postgres.home, ignore_errors=True)


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def with_hosts(url: str, ports: Sequence[int]) -> str:
    """Return the URL with these ports of this machine for its hosts."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{','.join(f'127.0.0.1:{port}' for port in ports)}"))
