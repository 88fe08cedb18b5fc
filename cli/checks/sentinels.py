"""Check Redis' Sentinels, and the replicas that they may promote."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError

from service.reasons import redis_reason
from service.redis.connecting import MasterPool
from service.redis.durability import own_weaknesses


async def sentinel_faults(pool: MasterPool) -> list[str]:
    """Return a sentence for each Sentinel that could not promote a replica, and each replica that would lose data."""
    sentinels = pool.sentinels
    views = dict(zip(sentinels.places, await sentinels.views(), strict=True))
    faults = [fault for name, view in views.items() for fault in _of_one(name, view, sentinels.name)]
    states = [view[sentinels.name] for view in views.values() if sentinels.name in _known(view)]
    return [*faults, *_of_all(states), *await _of_replicas(pool)]


def _of_one(name: str, view: Any, master: str) -> list[str]:
    if isinstance(view, BaseException):
        reason = redis_reason(view)
        return [f"The Sentinel at {name} cannot be asked: {reason.text}: {reason.advice}."]
    if master not in view:
        return [f"The Sentinel at {name} knows no master {master}: have it monitor that, or correct REDIS_URL."]
    return []


def _of_all(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say whether those that answer agree, and are enough to promote a replica."""
    if not states:
        return []
    faults = []
    masters = sorted({f"{state['ip']}:{state['port']}" for state in states})
    if len(masters) > 1:
        faults.append(f"The Sentinels name different masters ({', '.join(masters)}): see their logs.")
    every, quorum = 1 + max(state["num-other-sentinels"] for state in states), max(state["quorum"] for state in states)
    if len(states) < max(quorum, every // 2 + 1):
        faults.append(f"{len(states)} of {every} Sentinels answer, too few to promote a replica: start the others.")
    return faults


async def _of_replicas(pool: MasterPool) -> list[str]:
    """Say which replica, once it is promoted, would not keep what it accepts."""
    places = sorted(await pool.sentinels.replicas())
    found = await asyncio.gather(*(_of_replica(pool, host, port) for host, port in places))
    return [fault for faults in found for fault in faults]


async def _of_replica(pool: MasterPool, host: str, port: int) -> list[str]:
    try:
        async with pool.client_of(host, port) as replica:
            weak = await own_weaknesses(replica)
    except (RedisError, OSError, TimeoutError) as error:
        return [f"Redis' replica at {host}:{port} cannot be asked: {redis_reason(error).text}: start it."]
    return [f"Redis' replica at {host}:{port}, once promoted, may lose what it accepts: {advice}." for advice in weak]


def _known(view: Any) -> Mapping[str, Any]:
    return view if isinstance(view, Mapping) else {}
