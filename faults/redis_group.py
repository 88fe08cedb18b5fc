"""A Redis with a replica and three Sentinels, which promote the replica when the master fails."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from signal import Signals
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cli.embedded.redis_server import choose_server
from cli.ports import free_port
from cli.processes import Process, Program
from faults.full_disk import FullDisk, fill_redis
from faults.topology import Failover, Note, stop_all

SERVERS = ("redis-1", "redis-2")
SENTINELS = ("redis-sentinel-1", "redis-sentinel-2", "redis-sentinel-3")
KINDS = (
    "kill of Redis' master",
    "freeze of Redis' master",
    "full disk of Redis' master",
    "planned failover of Redis",
)
MASTER = "mymaster"
_PASSWORD, _SENTINEL_PASSWORD = "of-the-servers", "of-the-sentinels"
_DOWN_AFTER_SECONDS = 1.0
_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_SWAP_SECONDS = 5.0
_SERVER = """\
bind 127.0.0.1
port {port}
requirepass {password}
masterauth {password}
dir .
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
repl-ping-replica-period 1
"""
_SENTINEL = """\
bind 127.0.0.1
port {port}
requirepass {own_password}
dir .
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} {down_after_ms:.0f}
sentinel failover-timeout {master} 1500
"""


class RedisGroup:
    """Two servers and three Sentinels. A struck master that comes back is made the other one's replica by them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {name: free_port() for name in (*SERVERS, *SENTINELS)}
        self.master, self.replica = SERVERS
        self.processes: dict[str, Process] = {}

    async def start(self) -> None:
        for name in (*SERVERS, *SENTINELS):
            self.processes[name] = self._prepare(name)
        for name in SERVERS:
            await self.start_again(name)
        await self._replicated()  # or the Sentinels would find the replica only when they look again, after 10 s
        await asyncio.gather(*map(self.start_again, SENTINELS))
        await self._watched()

    async def stop(self) -> None:
        for name in self.processes:
            self.signal(name, Signals.SIGCONT)
        await stop_all(self.processes)

    async def start_again(self, name: str) -> None:
        process = self.processes[name]
        if not process.running:
            process.start()
            await process.wait_ready(lambda: self._answers(name), _WAIT_SECONDS)

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports of the Sentinels: they name the servers, which are reached directly."""
        return {name: self._ports[name] for name in SENTINELS}

    def url(self) -> str:
        return f"redis://:{_PASSWORD}@127.0.0.1:{self._ports[self.master]}/0"

    def url_through(self, ports: Mapping[str, int]) -> str:
        hosts = ",".join(f"127.0.0.1:{ports[name]}" for name in SENTINELS)
        return f"redis+sentinel://:{_PASSWORD}@{hosts}/{MASTER}/0?sentinel_password={_SENTINEL_PASSWORD}"

    async def fail_over(self, rng: random.Random, note: Note) -> Failover:
        kind = rng.choice(KINDS)
        note(f"{kind}, {self.master}")
        began, struck = asyncio.get_running_loop().time(), self.master
        match KINDS.index(kind):
            case 0:
                self.signal(self.master, Signals.SIGKILL)
            case 1:
                self.signal(self.master, Signals.SIGSTOP)
            case 2:
                await self.fill_disk(self.master)
                async with self.server(self.master) as master:
                    with contextlib.suppress(RedisError, OSError):
                        await master.set("filler", "", ex=1)
            case _:
                await self._until(self._plan_failover)
        await self.promoted()
        seconds = asyncio.get_running_loop().time() - began
        note(f"{self.master} is the master after {seconds:.2f} s")
        self.signal(struck, Signals.SIGCONT)  # it believes that it is the master, until the Sentinels tell it
        return Failover("Redis", kind, began, seconds)

    async def fill_disk(self, name: str) -> FullDisk:
        return fill_redis(self.processes[name], self._folder / name)

    def signal(self, name: str, number: Signals) -> None:
        process = self.processes[name]
        if process.pid and process.running:
            os.kill(process.pid, number)

    async def _plan_failover(self) -> bool:
        """Have the Sentinels swap the servers' roles, as an operator does, and ask again where they gave up.

        They give up after their failover-timeout, which a busy machine may take longer than.
        """
        async with self.sentinel(SENTINELS[0]) as sentinel:
            if (await sentinel.sentinel_masters())[MASTER]["port"] == self._ports[self.master]:
                await sentinel.execute_command("SENTINEL FAILOVER", MASTER)
        async with asyncio.timeout(_SWAP_SECONDS):
            while not await self._all_name(self._ports[self.replica]):  # noqa: ASYNC110 - it becomes true elsewhere
                await asyncio.sleep(_POLL_SECONDS)
        return True

    async def promoted(self) -> None:
        """Wait until all Sentinels name the other server."""
        self.master, self.replica = self.replica, self.master
        await self._until(lambda: self._all_name(self._ports[self.master]))

    async def restore(self) -> None:
        """Let the server that is not the master follow it. The Sentinels do that too, but only after 10 s."""
        for name in (*SERVERS, *SENTINELS):
            await self.start_again(name)
        if await self._all_name(self._ports[self.replica]):  # it was too slow for them once
            self.master, self.replica = self.replica, self.master
        async with self.server(self.replica) as replica:
            await replica.replicaof("127.0.0.1", self._ports[self.master])
        await self._replicated()
        await self._watched()

    def port(self, name: str) -> int:
        return self._ports[name]

    def server(self, name: str) -> Any:
        return Redis(port=self._ports[name], password=_PASSWORD, socket_timeout=3)

    def sentinel(self, name: str) -> Any:
        return Redis(port=self._ports[name], password=_SENTINEL_PASSWORD, socket_timeout=3)

    def _prepare(self, name: str) -> Process:
        folder = self._folder / name
        folder.mkdir()
        config = folder / "redis.conf"
        text = _SENTINEL if name in SENTINELS else _SERVER
        config.write_text(
            text.format(
                port=self._ports[name],
                password=_PASSWORD,
                own_password=_SENTINEL_PASSWORD,
                master=MASTER,
                master_port=self._ports[self.master],
                down_after_ms=1000 * _DOWN_AFTER_SECONDS,
            )
            + (f"replicaof 127.0.0.1 {self._ports[self.master]}\n" if name == self.replica else "")
        )
        argv = (str(choose_server(folder, embedded=True)), config.name, *(("--sentinel",) * (name in SENTINELS)))
        return Process(Program(name, argv, folder / "server.log", {"PATH": os.environ.get("PATH", os.defpath)}, folder))

    async def _answers(self, name: str) -> bool:
        async with self.sentinel(name) if name in SENTINELS else self.server(name) as client:
            with contextlib.suppress(RedisError, OSError):
                return bool(await client.ping())
        return False

    async def _replicated(self) -> None:
        """Wait until the replica has what the master has."""

        async def is_up() -> bool:
            async with self.server(self.replica) as server:
                replication = await server.info("replication")
            followed = (replication.get("master_port"), replication.get("master_link_status"))
            return followed == (self._ports[self.master], "up")

        await self._until(is_up)

    async def _watched(self) -> None:
        """Wait until each Sentinel knows the replica and the others, and sees all of them well."""

        async def all_know_all() -> bool:
            views = [view async for view in self._views()]
            return len(views) == len(SENTINELS) and all(
                view["flags"] == "master" and (view["num-slaves"], view["num-other-sentinels"]) == (1, 2)
                for view in views
            )

        await self._until(all_know_all)

    async def _all_name(self, port: int) -> bool:
        return [view["port"] async for view in self._views()] == [port] * len(SENTINELS)

    async def _views(self) -> AsyncIterator[Mapping[str, Any]]:
        for name in SENTINELS:
            async with self.sentinel(name) as sentinel:
                yield (await sentinel.sentinel_masters())[MASTER]

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                with contextlib.suppress(RedisError, OSError):
                    if await condition():
                        return
                await asyncio.sleep(_POLL_SECONDS)
