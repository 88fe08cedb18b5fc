"""Ask Redis whether it keeps what it accepts, so that it may stand in for Postgres (docs/design.md §2.1).

Behind Sentinels every server that they may promote must have a notice on its disk before it is accepted. WAIT and
min-replicas-to-write alone promise less (docs/decisions/0028-spill-to-every-server-that-may-be-promoted.md).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from arq.connections import ArqRedis
from redis.asyncio import Redis

from service.errors import RedisUnavailable
from service.redis.bounds import COMMAND_SECONDS, REDIS_AWAY
from service.redis.connecting import MasterPool

log = structlog.get_logger()

# Whether a condition is met, and what to do if it is not.
_Checks = tuple[tuple[bool, str], ...]

_MEMORY_FULL = 0.9
# WAITAOF came with Redis 7.2, and every Valkey has it.
_WAITAOF_SINCE = (7, 2)
_HELLO = "__sentinel__:hello"


@dataclass(frozen=True, slots=True)
class Durability:
    """The reasons why Redis may not accept a notice, as sentences, and how many replicas must have it on their disk.

    Without Sentinels that is none: nobody promotes a replica.
    """

    weaknesses: list[str]
    replicas: int = 0

    @property
    def is_enough(self) -> bool:
        return not self.weaknesses


async def read_durability(redis: ArqRedis, seconds: float = COMMAND_SECONDS) -> Durability:
    """Ask Redis, and its Sentinels if the URL names them, what becomes of what it accepts. Raises RedisUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            replication = await redis.info("replication")
            weaknesses = await own_weaknesses(redis)
            checks: _Checks = ((replication.get("role") == "master", "REDIS_URL must name the master"),)
            replicas = set[tuple[str, int]]()
            if isinstance(redis.connection_pool, MasterPool):
                replicas = _connected(replication)
                checks += _replica_checks(
                    replicas, await redis.connection_pool.sentinels.replicas(), await _version(redis)
                )
            else:
                watchers = dict(await redis.pubsub_numsub(_HELLO)).get(_HELLO.encode(), 0)
                checks += ((not watchers, "name its Sentinels in REDIS_URL, because they may promote another server"),)
    except REDIS_AWAY as error:
        raise RedisUnavailable(type(error).__name__) from error
    return Durability([*weaknesses, *_advice(checks)], len(replicas))


async def own_weaknesses(redis: Redis) -> list[str]:
    """Return the reasons why this one server may lose what it accepts. Raises Redis' own errors."""
    config: dict[str, str] = {}
    for key in ("appendonly", "appendfsync", "maxmemory-policy"):
        config |= await redis.config_get(key)
    return _advice(
        (
            (config.get("appendonly") == "yes", "set appendonly to yes, so that Redis keeps what it accepts"),
            (config.get("appendfsync") == "always", "set appendfsync to always, so that a crash loses nothing"),
            (config.get("maxmemory-policy") == "noeviction", "set maxmemory-policy to noeviction"),
        )
    )


def _advice(checks: _Checks) -> list[str]:
    return [advice for is_met, advice in checks if not is_met]


def _replica_checks(
    connected: set[tuple[str, int]], promotable: set[tuple[str, int]], version: tuple[int, ...]
) -> _Checks:
    away = ", ".join(f"{host}:{port}" for host, port in sorted(promotable - connected))
    return (
        (bool(connected | promotable), "give the master a replica, which has a notice before it is accepted"),
        (not away, f"start {away}, which the Sentinels may promote, or have them forget it (SENTINEL RESET)"),
        (version >= _WAITAOF_SINCE, "upgrade it to Redis 7.2 or Valkey, which say what a replica has on its disk"),
    )


def _connected(replication: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return the replicas that follow this master, by its own `INFO replication`."""
    states = (state for name, state in replication.items() if name.removeprefix("slave").isdecimal())
    return {(str(state["ip"]), int(state["port"])) for state in states if state["state"] == "online"}


async def _version(redis: ArqRedis) -> tuple[int, ...]:
    server = await redis.info("server")
    return tuple(int(part) for part in str(server["redis_version"]).split(".")[:2])


def is_nearly_full(memory: Mapping[str, Any]) -> bool:
    """Say whether Redis, by its own `INFO memory`, is about to accept nothing more."""
    return bool(memory["maxmemory"]) and memory["used_memory"] > _MEMORY_FULL * memory["maxmemory"]


async def say_weaknesses(redis: ArqRedis) -> None:
    """Log the reasons why this Redis may not accept notices while Postgres is away."""
    try:
        for advice in (await read_durability(redis)).weaknesses:
            log.warning("redis.weak", advice=advice)
    except RedisUnavailable as error:
        log.warning("redis.away", reason=str(error), advice="start Redis, or correct REDIS_URL")
