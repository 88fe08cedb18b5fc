"""One episode: buyers buy while the storm blows; then all heals, and the oracle says whether everything held."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import asyncpg

from faults import oracle
from faults.driver import Driver
from faults.stack import Stack
from faults.storm import SPILL, Storm

BLOW_SECONDS = 6.0
# From the first purchase to the last look of the oracle.
EPISODE_SECONDS = 20.0
_POLL_SECONDS = 0.2
# 6 s in all.
_JUDGED_AGAIN = 30
_ACKNOWLEDGED_SOURCES = ("webhook", "completion", "redirect")


@dataclass
class Episode:
    """What became of one seed."""

    seed: int
    seconds: float = 0.0
    orders: int = 0
    payments: int = 0
    notices: int = 0
    acknowledged: int = 0
    versions: int = 0
    # From the healing until every order was as PortOne has it; until every notice had ended too.
    orders_right_seconds: float = 0.0
    rest_seconds: float = 0.0
    # Acknowledged while Postgres was away, and then their Redis was destroyed.
    lost_with_redis: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """As it is kept; the notes only where they explain something."""
        kept = asdict(self)
        return kept if self.broken else kept | {"notes": []}


async def run_episode(stack: Stack, seed: int, orders: int = 24, only: str | None = None) -> Episode:
    """Never raises for the service's sake: what it did wrong stands in `broken`."""
    await stack.fresh()
    episode, started = Episode(seed), time.monotonic()
    driver, storm = Driver(stack, seed, orders, BLOW_SECONDS), Storm(stack, seed, BLOW_SECONDS, only)
    buying = asyncio.create_task(driver.run())
    await storm.blow()
    await storm.heal()
    healed = time.monotonic()
    try:
        async with asyncio.timeout(EPISODE_SECONDS - (healed - started)):
            await buying
            moved = time.monotonic()
            await _until_right(stack, episode, moved)
    except TimeoutError:
        buying.cancel()
        if not buying.done() or buying.cancelled():
            episode.broken.append("the shop could not register, or the buyers could not buy, long after all healed")
    await _judge(stack, driver, storm, episode)
    episode.seconds = round(time.monotonic() - started, 2)
    episode.troubles = dict(storm.counts) | {"connections cut": sum(p.cuts for p in stack.proxies.values())}
    for proxy in stack.proxies.values():
        proxy.cuts = 0
    episode.kinds, episode.notes = dict(driver.kinds), storm.notes
    return episode


async def _until_right(stack: Stack, episode: Episode, since: float) -> None:
    """Wait until the oracle has nothing to say any more."""
    db = await stack.connect()
    try:
        while True:
            broken = await _wrong(db, stack)
            waiting = await _waiting_webhooks(stack) + await _spilled(stack)
            if not episode.orders_right_seconds and not any(not line.startswith("notice") for line in broken):
                episode.orders_right_seconds = round(time.monotonic() - since, 3)
            if not broken and not waiting:
                episode.rest_seconds = round(time.monotonic() - since, 3)
                return
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await db.close()


async def _waiting_webhooks(stack: Stack) -> int:
    return int((await stack.control("GET", "webhooks?imp_uid=none"))["waiting"])


async def _spilled(stack: Stack) -> int:
    """What was accepted while Postgres was away, and no sweep has moved into it yet."""
    async with stack.redis_client() as redis:
        return int(await redis.xlen(SPILL))


async def _wrong(db: asyncpg.Connection, stack: Stack) -> list[str]:
    """What the oracle has to say now. PortOne's truth stands still by then; orders are read after it."""
    truth = await stack.truth()
    return oracle.judge(await oracle.read_rows(db), truth)


async def _judge(stack: Stack, driver: Driver, storm: Storm, episode: Episode) -> None:
    rows, truth = await _settled_rows(stack, episode)
    acknowledged = Counter(driver.acknowledged)
    for delivery in (await stack.control("GET", "webhooks", seconds=10))["deliveries"]:
        acknowledged[delivery["imp_uid"]] += delivery["answer_status"] == 200
    lost = _lost(rows.notices, acknowledged)
    episode.lost_with_redis = sum((lost & storm.destroyed).values())
    episode.broken += [
        f"{count} acknowledged notices of {imp_uid} left nothing behind: {acknowledged[imp_uid]} in all,"
        f" {driver.acknowledged[imp_uid]} of them calls, {_rows_of(rows.notices, imp_uid)}"
        for imp_uid, count in (lost - storm.destroyed).items()
    ]
    missing = driver.registered - {order["merchant_uid"] for order in rows.orders}
    episode.broken += [f"order {name} was registered and is gone" for name in sorted(missing)]
    episode.orders, episode.payments = len(rows.orders), len(truth)
    episode.notices = sum(notice["arrivals"] for notice in rows.notices)
    episode.acknowledged, episode.versions = acknowledged.total(), len(rows.events)


async def _settled_rows(stack: Stack, episode: Episode) -> tuple[oracle.Rows, list[dict[str, Any]]]:
    """The rows as they are judged. A walk of the ledger may have given notice since: it gets its time."""
    db = await stack.connect()
    try:
        for left in reversed(range(_JUDGED_AGAIN)):
            truth = await stack.truth()
            rows = await oracle.read_rows(db)
            broken = oracle.judge(rows, truth)
            if not broken or not left:
                break
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await db.close()
    episode.broken += broken
    return rows, truth


def _rows_of(notices: list[dict[str, Any]], imp_uid: str) -> list[str]:
    return [
        f"{one['source']} {one['claimed_status']} {one['registered']} {one['arrivals']} {one['last_outcome']}"
        for one in notices
        if one["imp_uid"] == imp_uid
    ]


def _lost(notices: list[dict[str, Any]], acknowledged: Mapping[str, int]) -> Counter[str]:
    """How many acknowledged notices of each payment have no row. One that is shared stands for any number."""
    kept = Counter[str]()
    shared = {notice["imp_uid"] for notice in notices if not notice["registered"]}
    for notice in notices:
        kept[notice["imp_uid"]] += notice["source"] in _ACKNOWLEDGED_SOURCES
    return Counter({name: count for name, count in acknowledged.items() if name not in shared}) - kept
