"""Measure whether the service is as quick among ten million orders as among a hundred thousand: `python -m bench.room`.

The tables are filled with settled orders of a year, and everything that people wait for is measured: payments, reads,
the feed, the console's first page, the background work, and a migration beside them. Then the same with more orders.
docs/growing.md has what the last published run found.
"""

import argparse
import json
import logging
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from pathlib import Path

import aiohttp
import orjson
import uvloop

from bench import load, online_migration, room_report
from bench.background import background, list_payments
from bench.calls import READ
from bench.console import FRESH_SECONDS, read_page, signed_in
from bench.databases import Databases, running_databases
from bench.filling import Filling, fill
from bench.marked import write_made
from bench.measure import FULL, Bench, BenchFailed
from bench.paths import RESULTS
from bench.room_report import Figures, Measured
from bench.systems import SERVICE_KEY, SYSTEMS, Launcher, Running
from bench.timed import timed
from cli.errors import CommandFailed
from service.db import sizes
from service.domain.feed_cursor import cursor_of, read_cursor
from service.logs import configure_logs

# Every order keeps its notice, though those of the oldest are a year old.
_OURS = replace(SYSTEMS["ours"], variables={"KEEP_HANDLED_DAYS": "400"})
_EVENTS_A_PAGE = 500
_FEW = 100_000
_VACUUM_SECONDS = 1_800
_DAYS = 365
_LEDGER_MIN = 1_000
_KEY = {"Authorization": f"Bearer {SERVICE_KEY}"}


@dataclass(frozen=True)
class Plan:
    """The numbers of orders, and how long each thing is measured.

    Payments are settled in `turns` of `payments` each, `seconds` are those of each turn of the other loads, and what is
    read again and again is read `readings` times.
    """

    sizes: tuple[int, ...]
    payments: int = 4_000
    turns: int = 3
    seconds: float = 5.0
    readings: int = 30
    connections: int = 256
    pause_seconds: float = FRESH_SECONDS
    alone_seconds: float = 10.0
    window_seconds: float = 2.0

    @classmethod
    def small(cls) -> "Plan":
        """Return a run of seconds, to see that everything still works."""
        return cls((1_200, 2_400), 100, 1, 0.2, 2, 16, pause_seconds=0.0, alone_seconds=0.1, window_seconds=0.1)

    @property
    def ledger(self) -> int:
        """The payments of a day in the largest tables. The others are compared with a list of that length too."""
        return min(self.sizes[0], max(_LEDGER_MIN, self.sizes[-1] // _DAYS))


@dataclass(frozen=True)
class Room:
    """The databases and processes of a run, with all measurements at one number of orders."""

    plan: Plan
    databases: Databases
    launcher: Launcher
    filling: Filling

    async def measure(self) -> Figures:
        """Fill the tables, and return all figures. Raises BenchFailed."""
        figures = self._say({"fill_seconds": await fill(self.databases, self.filling)})
        async with self.launcher.running(_OURS, workers=1) as running:
            figures |= self._say(await self._settled(running))
            figures |= self._say(await self._sizes())
            for work in (self._reads, self._feed, self._console, self._migration):
                figures |= self._say(await work(running))
        return figures | self._say(await self._background())

    def _say(self, figures: Figures) -> Figures:
        line = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
        print(f"{self.filling.orders:,} orders: {line}", flush=True)
        return figures

    async def _sizes(self) -> Figures:
        """Return what is on the disk, now that every order is settled, after a vacuum."""
        async with self.databases.session() as session:
            await session.execute("VACUUM (ANALYZE)", timeout=_VACUUM_SECONDS)
            total = sum(table.bytes for table in await sizes.read(session))
        return {"gigabytes": total / 1e9, "bytes_an_order": total / self.filling.orders}

    async def _settled(self, running: Running) -> Figures:
        """Settle every order that is not paid yet: those that are spread over the table, then the newest."""
        bench, rates = Bench(self.databases, self.launcher, FULL), dict[str, float]()
        for name, numbers in (("spread", self.filling.pending_spread), ("new", self.filling.pending_new)):
            drawn, step = random.Random(1).sample(numbers, len(numbers)), self.plan.payments
            turns = [drawn[start : start + step] for start in range(0, len(drawn), step)]
            # The first turn opens connections and plans statements.
            await bench.settled(running, turns[0], self.plan.connections)
            before = await self.databases.counters()
            found = [await bench.settled(running, turn, self.plan.connections) for turn in turns[1:]]
            wal_bytes = (await self.databases.counters()).wal_bytes - before.wal_bytes
            rates[f"settled_{name}"] = statistics.median(turn["per_second"] for turn in found)
            rates[f"wal_{name}"] = wal_bytes / sum(turn["count"] for turn in found)
        return rates

    async def _reads(self, running: Running) -> Figures:
        rng, numbers, found = random.Random(2), self.filling.numbers, []
        requests = (READ.request(rng.choice(numbers)) for _ in repeat(None))
        for _ in range(1 + self.plan.turns):
            sent = await load.closed_loop(running.port, self.plan.connections, requests, self.plan.seconds)
            if sent.failed:
                raise BenchFailed(f"{sent.failed} reads failed ({dict(sent.statuses)}: {sent.wrong[:300]!r})")
            found.append(sent.figures())
        return {
            "reads": statistics.median(turn["per_second"] for turn in found[1:]),
            "read_p99_ms": statistics.median(turn["p99_ms"] for turn in found[1:]),
        }

    async def _feed(self, running: Running) -> Figures:
        """Follow the feed from its oldest event for a while, then read its newest page again and again."""
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port}", headers=_KEY) as session:
            began, events, after, count = time.perf_counter(), 0, 0, _EVENTS_A_PAGE
            while time.perf_counter() - began < self.plan.seconds and count == _EVENTS_A_PAGE:
                count, after = await _read_events(session, after)
                events += count
            rate = events / (time.perf_counter() - began)
            async with self.databases.session() as db:
                newest = await db.fetchval("SELECT max(id) FROM order_events")

            async def read() -> None:
                await _read_events(session, newest - _EVENTS_A_PAGE)

            return {"feed": rate} | await timed("feed_page", self.plan.readings, read)

    async def _console(self, running: Running) -> Figures:
        async with signed_in(running.port) as session:

            async def read() -> None:
                await read_page(session, "")

            return await timed("today", self.plan.readings, read, pause_seconds=self.plan.pause_seconds)

    async def _background(self) -> Figures:
        """Measure a worker's background work while no worker runs."""
        numbers, standin_port = self.filling.numbers, self.launcher.standin_port
        environment = self.launcher.environment(self.launcher.tree)
        async with background(self.databases, environment) as measured:
            figures = await measured.sweeps(numbers, self.plan.readings)
            await list_payments(standin_port, numbers[-self.plan.ledger :])
            figures |= await measured.ledger_scans(self.plan.ledger, self.plan.turns)
            await list_payments(standin_port, numbers[:0])
        return figures

    async def _migration(self, running: Running) -> Figures:
        """Measure how long callers wait, at most, while the table of orders is changed."""
        calls = await online_migration.measure(
            self.databases,
            running.port,
            self.filling.orders,
            online_migration.UNFILLED,
            self.plan.alone_seconds,
            self.plan.window_seconds,
        )
        if any(each.wrong for each in calls):
            raise BenchFailed("calls failed while the table was changed")
        figures = {f"calm_{each.name}_ms": 1000 * each.longest.pop(online_migration.NOTHING) for each in calls}
        return figures | {f"longest_{each.name}_ms": 1000 * max(each.longest.values()) for each in calls}


async def _read_events(session: aiohttp.ClientSession, after: int) -> tuple[int, int]:
    """Read a page of the feed after an event. Return how many events it has, and the last one's id."""
    query = {"after": cursor_of(after), "limit": str(_EVENTS_A_PAGE)}
    async with session.get("/events", params=query) as answer:
        page = orjson.loads(await answer.read())
    if answer.status != 200:
        raise BenchFailed(f"the feed answered {answer.status}: {page}")
    return len(page["events"]), read_cursor(page["next"]) or 0


async def measure(plan: Plan, folder: Path) -> list[Figures]:
    """Return the figures for each number of orders."""
    async with running_databases() as databases:
        launcher = Launcher(databases, folder)
        try:
            await launcher.start_standin()
            fillings = [Filling(size, new=plan.payments * (1 + plan.turns)) for size in plan.sizes]
            return [await Room(plan, databases, launcher, filling).measure() for filling in fillings]
        finally:
            await launcher.standin.stop()


def main() -> None:
    options = _options()
    plan = Plan.small() if options.small else Plan((min(_FEW, options.orders // 2), options.orders))
    configure_logs(logging.WARNING)
    RESULTS.mkdir(exist_ok=True)
    began = time.monotonic()
    try:
        few, many = uvloop.run(measure(plan, RESULTS))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    measured = Measured(plan.sizes, plan.connections, plan.ledger, few, many)
    text = room_report.table(measured, minutes=(time.monotonic() - began) / 60)
    print(text)
    (RESULTS / "room.json").write_text(json.dumps(asdict(measured), indent=1) + "\n", "utf-8")
    if options.publish:
        write_made(room_report.PAGE, "room", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.room", description=__doc__)
    parser.add_argument("orders", nargs="?", type=int, default=10**7, help=f"at least {_FEW:,}")
    parser.add_argument("--small", action="store_true", help="check within seconds that everything still works")
    parser.add_argument("--publish", action="store_true", help=f"write the table of docs/{room_report.PAGE.name}")
    options = parser.parse_args()
    if options.publish and options.small:
        parser.error("only a whole run can be published")
    if options.orders < _FEW:
        parser.error(f"fewer than {_FEW:,} orders say nothing")
    return options


if __name__ == "__main__":
    main()
