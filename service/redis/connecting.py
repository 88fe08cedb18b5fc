"""Connections to Redis that leave a server which is no longer the master (docs/failover.md, Redis).

redis-py asks one Sentinel after the other, each with the whole time-out, believes the first that answers, and keeps
connections to a master that was demoted while nobody wrote. Here all Sentinels are asked at once, the newest
configuration counts, a new connection asks the server for its role, and the Sentinels are asked again every second.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import AuthenticationError, ConnectionError, ReadOnlyError, RedisError  # noqa: A004

from service.reasons import MASTER_DOWN, NO_MASTER, NO_SENTINEL, REFUSED_BY_SENTINELS, UNKNOWN_MASTER
from service.redis_url import RedisAddress, read_redis_url

log = structlog.get_logger()

# Of the second that a command has, this leaves enough for the server, also if a Sentinel's machine is gone.
_SENTINEL_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 1.0


def open_connections(redis_url: str, **options: Any) -> ConnectionPool:
    """Make a pool for a URL of the setting REDIS_URL. It connects when it is first used."""
    address = read_redis_url(redis_url)
    merged = {**options, **address.options}
    if address.sentinels:
        merged["connection_class"] = _TlsMasterConnection if address.is_encrypted else _MasterConnection
        return MasterPool(address, merged)
    kind = merged.get("connection_class", Connection)
    return ConnectionPool(**{**merged, "connection_class": _LEAVING.get(kind, kind)})


class _LeavingConnection(Connection):
    """A connection that is closed once its server says that it is read-only: the next one asks DNS again."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ReadOnlyError:
            await self.disconnect(nowait=True)
            raise


class _TlsLeavingConnection(_LeavingConnection, SSLConnection):
    pass


_LEAVING: Mapping[type, type] = {Connection: _LeavingConnection, SSLConnection: _TlsLeavingConnection}


class _MasterConnection(SentinelManagedConnection):
    """A connection to the master that the Sentinels name, if it says itself that it is one."""

    async def on_connect(self) -> None:
        await super().on_connect()
        await self.send_command("ROLE", check_health=False)
        if (await self.read_response())[0] not in (b"master", "master"):
            raise ConnectionError(NO_MASTER)


class _TlsMasterConnection(_MasterConnection, SSLConnection):
    pass


class Sentinels:
    """The Sentinels of a master, all asked at once."""

    def __init__(self, address: RedisAddress) -> None:
        self.name = address.master
        options: dict[str, Any] = {
            "ssl": address.is_encrypted,
            "socket_timeout": _SENTINEL_SECONDS,
            "socket_connect_timeout": _SENTINEL_SECONDS,
            **address.sentinel_options,
        }
        self.places = [f"{host}:{port}" for host, port in address.sentinels]
        self._clients = [Redis(host=host, port=port, **options) for host, port in address.sentinels]

    async def views(self) -> list[Any]:
        """Return how each Sentinel sees the masters that it watches, by name, or its error."""
        return await self._ask("MASTERS")

    async def discover_master(self, name: str) -> tuple[str, int]:
        """Return the address of the master. Raises MasterNotFoundError."""
        views = await self.views()
        states = [view[name] for view in views if isinstance(view, Mapping) and name in view]
        newest = max((state["config-epoch"] for state in states), default=0)
        # A Sentinel that was cut off names the master of an older configuration.
        for state in states:
            if state["config-epoch"] == newest and state["is_master"] and not (state["is_sdown"] or state["is_odown"]):
                return state["ip"], state["port"]
        raise MasterNotFoundError(_why_none(views, states))

    async def replicas(self) -> set[tuple[str, int]]:
        """Return every server that some Sentinel may promote. Raises MasterNotFoundError if none answers."""
        views = [view for view in await self._ask("SLAVES", self.name) if not isinstance(view, BaseException)]
        if not views:
            raise MasterNotFoundError(NO_SENTINEL)
        return {(replica["ip"], replica["port"]) for view in views for replica in view}

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def _ask(self, *question: str) -> list[Any]:
        """Return each Sentinel's answer, or its error."""

        async def ask(sentinel: Redis) -> Any:
            async with asyncio.timeout(_SENTINEL_SECONDS):
                return await sentinel.execute_command(  # type: ignore[no-untyped-call]
                    f"SENTINEL {question[0]}", *question[1:]
                )

        return await asyncio.gather(*map(ask, self._clients), return_exceptions=True)


def _why_none(views: Sequence[object], states: Sequence[object]) -> str:
    if states:
        return MASTER_DOWN
    if any(isinstance(view, Mapping) for view in views):
        return UNKNOWN_MASTER
    if any(isinstance(view, AuthenticationError) for view in views):
        return REFUSED_BY_SENTINELS
    return NO_SENTINEL


class MasterPool(SentinelConnectionPool):
    """A pool of connections to the master, all of which are left when the Sentinels name another."""

    def __init__(self, address: RedisAddress, options: Mapping[str, Any]) -> None:
        self.sentinels = Sentinels(address)
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = time.monotonic()
        self._options = {**options, "connection_class": SSLConnection if address.is_encrypted else Connection}
        super().__init__(address.master, self.sentinels, **options)  # type: ignore[no-untyped-call]

    def client_of(self, host: str, port: int) -> Redis:
        """Return a client of one server of the group, which may be a replica."""
        return Redis.from_pool(ConnectionPool(host=host, port=port, **self._options))

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        self.ask_again()
        return await super().get_connection(*args, **options)

    def ask_again(self) -> None:
        """Ask the Sentinels, in the background, if their last answer is a second old."""
        is_asking = self._asking is not None and not self._asking.done()
        if is_asking or time.monotonic() - self._asked_at < _ASK_AGAIN_SECONDS:
            return
        self._asked_at = time.monotonic()
        self._asking = asyncio.create_task(self._leave_old_master())

    async def get_master_address(self) -> tuple[str, int]:
        """Return the master's address, and leave the one before."""
        address = await self.sentinels.discover_master(self.service_name)
        if self.master_address not in (None, address):
            log.warning("redis.master_changed", host=address[0], port=address[1])
            # Without waiting until they are closed: a machine that is gone closes nothing.
            for connection in (*self._available_connections, *self._in_use_connections):
                await connection.disconnect(nowait=True)
        self.master_address = address
        return address

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections, those to the Sentinels included."""
        if self._asking:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await super().disconnect(inuse_connections)
        await self.sentinels.close()

    async def _leave_old_master(self) -> None:
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self.get_master_address()
