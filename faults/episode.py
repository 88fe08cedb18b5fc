"""Run an episode: buyers pay during a storm of faults, everything recovers, and the oracle judges the rows."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import asyncpg

from faults import oracle
from faults.answer_oracle import AnswerOracle
from faults.driver import Driver
from faults.failing_over import FailingOver
from faults.refund_oracle import CANCEL, RefundOracle, Refunds, read_refunds
from faults.spilled import SPILL
from faults.stack import Stack
from faults.storm import STALE_SECONDS, Storm
from faults.ticks import ticking

# The last part meets the refunds, which wait for 6 s.
STORM_SECONDS = 7.5
# From the first purchase to the last judgement of the oracle.
EPISODE_SECONDS = 22.0
_POLL_SECONDS = 0.2
# 6 s in total.
_JUDGEMENTS_MAX = 30
# Sentences about what takes its time after the orders are right.
_NOT_OF_ORDERS = ("notice", "refund")
_ACKNOWLEDGED_SOURCES = ("webhook", "completion", "redirect")


@dataclass
class Episode:
    """The result of one seed."""

    seed: int
    seconds: float = 0.0
    orders: int = 0
    payments: int = 0
    notices: int = 0
    acknowledged: int = 0
    versions: int = 0
    # From the recovery until every order was as PortOne has it, and until every notice had ended too.
    orders_right_seconds: float = 0.0
    rest_seconds: float = 0.0
    # Notices that were acknowledged without Postgres and whose Redis was then destroyed.
    lost_with_redis: int = 0
    # Of each failover: its kind, and the seconds until a shop could register an order again.
    recoveries: list[dict[str, Any]] = field(default_factory=list)
    # How often each kind of question was answered with each status, and how many refunds ended in each state.
    answers: dict[str, int] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def line(self) -> dict[str, Any]:
        """Return the episode as it is kept: with its notes only if a promise was broken."""
        fields = asdict(self)
        return fields if self.broken else fields | {"notes": []}


async def run_episode(stack: Stack, seed: int, orders: int = 30, only: str | None = None) -> Episode:
    """Run one seed. Faults of the service are not raised but listed in `broken`."""
    await stack.fresh()
    episode, started = Episode(seed), time.monotonic()
    driver, storm = Driver(stack, seed, orders, STORM_SECONDS), Storm(stack, seed, STORM_SECONDS, only)
    async with ticking(stack):
        promoted_at = await _play(stack, driver, storm, episode)
        await _judge(stack, driver, storm, episode)
        episode.broken += _wrong_answers(driver, await stack.truth(), promoted_at)
    episode.seconds = round(time.monotonic() - started, 2)
    episode.troubles = dict(storm.counts) | {"connections cut": sum(p.cuts for p in stack.proxies.values())}
    for proxy in stack.proxies.values():
        proxy.cuts = 0
    episode.kinds, episode.notes = dict(driver.kinds), storm.notes
    return episode


async def _play(stack: Stack, driver: Driver, storm: Storm, episode: Episode) -> list[float]:
    """Let buyers pay during the storm and the failovers, and wait until everything is right, or for too long.

    Returns when another Postgres became the primary.
    """
    failing_over, started = FailingOver(stack, episode.seed, STORM_SECONDS, storm.note), time.monotonic()
    buying, failing = asyncio.create_task(driver.run()), asyncio.create_task(failing_over.run())
    await storm.inject()
    await storm.heal()
    healed = time.monotonic()
    await failing
    await storm.heal_databases()
    episode.broken += failing_over.broken
    episode.recoveries = [asdict(recovery) for recovery in failing_over.recoveries]
    try:
        async with asyncio.timeout(EPISODE_SECONDS - (healed - started)):
            await buying
            await _until_right(stack, driver, episode, time.monotonic())
    except TimeoutError:
        buying.cancel()
        if not buying.done() or buying.cancelled():
            episode.broken.append("the shop could not register, or the buyers could not pay, long after the recovery")
    return failing_over.promoted_at


async def _until_right(stack: Stack, driver: Driver, episode: Episode, since: float) -> None:
    """Wait until the oracle finds no broken promise."""
    db = await stack.connect()
    try:
        while True:
            broken = (await _look(db, stack, driver)).broken
            waiting = await _waiting_webhooks(stack) + await _spilled(stack)
            if not episode.orders_right_seconds and all(line.startswith(_NOT_OF_ORDERS) for line in broken):
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
    """Return how many notices were accepted without Postgres and not yet swept into it."""
    async with stack.redis_client() as redis:
        return int(await redis.xlen(SPILL))


@dataclass(frozen=True)
class _Found:
    """The stored rows, PortOne's truth, and a sentence for each promise that these break."""

    truth: list[dict[str, Any]]
    rows: oracle.Rows
    refunds: Refunds
    broken: list[str]


async def _look(db: asyncpg.Connection, stack: Stack, driver: Driver) -> _Found:
    """Return what the oracle finds now. Once all refunds have ended PortOne's truth no longer changes."""
    truth, calls = await stack.truth(), await stack.control("GET", "calls")
    rows, refunds = await oracle.read_rows(db), await read_refunds(db)
    terms = {name: order.terms for name, order in driver.orders.items()}
    refund_oracle = RefundOracle(terms, truth, calls["by_template"].get(CANCEL, 0), driver.person.wanted)
    return _Found(truth, rows, refunds, [*oracle.judge(rows, truth), *refund_oracle.judge(refunds)])


async def _judge(stack: Stack, driver: Driver, storm: Storm, episode: Episode) -> None:
    found = await _settled(stack, driver)
    rows, truth = found.rows, found.truth
    episode.broken += found.broken
    acknowledged = Counter(driver.asking.acknowledged)
    for delivery in (await stack.control("GET", "webhooks", seconds=10))["deliveries"]:
        acknowledged[delivery["imp_uid"]] += delivery["answer_status"] == 200
    lost = _lost(rows.notices, acknowledged)
    episode.lost_with_redis = sum((lost & storm.destroyed).values())
    episode.broken += [
        f"{count} acknowledged notices of {imp_uid} have no row: {acknowledged[imp_uid]} in total,"
        f" {driver.asking.acknowledged[imp_uid]} of them calls, {_rows_of(rows.notices, imp_uid)}"
        for imp_uid, count in (lost - storm.destroyed).items()
    ]
    missing = driver.registered - {order["merchant_uid"] for order in rows.orders}
    episode.broken += [f"order {name} was registered and is gone" for name in sorted(missing)]
    episode.orders, episode.payments = len(rows.orders), len(truth)
    episode.notices = sum(notice["arrivals"] for notice in rows.notices)
    episode.acknowledged, episode.versions = acknowledged.total(), len(rows.events)
    episode.answers = dict(Counter(f"{answer.kind}: {answer.status}" for answer in driver.asking.answers))
    episode.refunds = dict(Counter(row["state"] for row in found.refunds.rows))


def _wrong_answers(driver: Driver, truth: list[dict[str, Any]], promoted_at: list[float]) -> list[str]:
    """Return what browsers and PortOne were answered wrongly."""
    answer_oracle = AnswerOracle(driver.orders, truth, STALE_SECONDS, driver.began_at, promoted_at)
    return answer_oracle.judge(driver.asking.answers)


async def _settled(stack: Stack, driver: Driver) -> _Found:
    """Return what there is to judge. A ledger scan may have recorded new notices, so these get time to end."""
    db = await stack.connect()
    try:
        for left in reversed(range(_JUDGEMENTS_MAX)):
            found = await _look(db, stack, driver)
            if not found.broken or not left:
                break
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await db.close()
    return found


def _rows_of(notices: list[dict[str, Any]], imp_uid: str) -> list[str]:
    return [
        f"{row['source']} {row['claimed_status']} {row['registered']} {row['arrivals']} {row['last_outcome']}"
        for row in notices
        if row["imp_uid"] == imp_uid
    ]


def _lost(notices: list[dict[str, Any]], acknowledged: Mapping[str, int]) -> Counter[str]:
    """Count the acknowledged notices without a row, by payment. A row counts as many as it stands for.

    The row of an unregistered order's payment begins again when it has ended, so it stands for any number.
    """
    stored = Counter[str]()
    shared = {notice["imp_uid"] for notice in notices if not notice["registered"]}
    for notice in notices:
        stored[notice["imp_uid"]] += notice["arrivals"] * (notice["source"] in _ACKNOWLEDGED_SOURCES)
    return Counter({name: count for name, count in acknowledged.items() if name not in shared}) - stored
