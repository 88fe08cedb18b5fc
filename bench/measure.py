"""Measure a system. docs/performance.md, which bench/report.py writes, explains each number."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from bench import load, orders
from bench.databases import Counters, Databases
from bench.load import Load, quantiles
from bench.systems import BARE, WEBHOOKS, Launcher, Running, System
from bench.usage import Usage, usage_of

_POLL_SECONDS = 0.02
_WARM_UP = 40
# A notice without progress for this long is lost.
_STUCK_SECONDS = 25.0
# The gaps between a webhook and its completion call, which come in either order.
_GAPS_SECONDS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5)
QUIET_PER_SECOND = 20.0
# The system still writes for this long after a table was copied, and longer for each million of its orders.
_COPIED_SECONDS = 2.0
_COPIED_SECONDS_BY_MILLION = 1.0

Figures = dict[str, Any]


class BenchFailed(Exception):
    """A system did not do its work, so its numbers mean nothing."""


@dataclass(frozen=True)
class Size:
    """The size of a run: orders in the table, seconds, notices and connections.

    `step_seconds` and `step_connections` are those of each step of an order's life, and `flood_seconds` those of each
    part of the overload.
    """

    table: int
    seconds: float
    quiet_notices: int
    pairs: int
    connections: tuple[int, ...] = (64, 256)
    step_seconds: float = 3.0
    step_connections: tuple[int, ...] = (1, 16, 256)
    flood_seconds: float = 5.0
    flood_connections: int = 1024


FULL = Size(table=100_000, seconds=3.0, quiet_notices=120, pairs=96)
SMALL = Size(
    table=20_000,
    seconds=0.8,
    quiet_notices=24,
    pairs=24,
    connections=(64,),
    step_seconds=0.2,
    step_connections=(1, 16),
    flood_seconds=0.5,
    flood_connections=128,
)


@dataclass
class Bench:
    """The databases, processes and size of one run, with all measurements."""

    databases: Databases
    launcher: Launcher
    size: Size

    async def measure(self, system: System) -> Figures:
        """Return all figures of a system in one round."""
        figures = await self.accepted(system) if system.worker else {}
        await self.databases.fresh(self.size.table)
        async with self.launcher.running(system, workers=1) as running:
            source = count(orders.FIRST)
            await self.settled(running, islice(source, _WARM_UP), 8)
            figures |= await self._quiet(system, running, source)
            rate = (await self.settled(running, islice(source, int(system.guess / 2)), 64))["per_second"]
            for connections in self.size.connections:
                if connections == self.size.connections[-1]:
                    numbers = list(islice(source, int(rate / 2 * self.size.seconds)))
                    figures["notice_to_commit_half"] = await self._latency(running, numbers, rate / 2)
                    before, started = await self.databases.counters(), await self.usage(running)
                notices = int(rate * self.size.seconds)
                settled = await self.settled(running, islice(source, notices), connections)
                figures[f"settled_{connections}"] = settled
                rate = settled["per_second"]
            ended = await self.usage(running)
        after = await self.databases.counters()
        return figures | _costs(settled["count"], before, after, started, ended)

    async def _quiet(self, system: System, running: Running, source: Iterator[int]) -> Figures:
        """Measure a quiet system: without notices, and with 20 notices a second."""
        figures: Figures = {"idle_worker_cpu_percent": await self._idle(running)} if system.worker else {}
        numbers = list(islice(source, self.size.quiet_notices))
        figures["notice_to_commit_quiet"] = await self._latency(running, numbers, QUIET_PER_SECOND)
        if system.name == "ours":
            figures["pairs"] = await self._pairs(running, source)
        return figures

    async def accepted(self, system: System) -> Figures:
        """Measure how fast notices are accepted while no worker runs."""
        await self.databases.fresh(self.size.table)
        figures: Figures = {}
        async with self.launcher.running(system, workers=0) as running:
            await self._send(running, range(orders.FIRST, orders.FIRST + _WARM_UP), 8)
            for connections in self.size.connections:
                numbers = orders.around(self.size.table)
                before = usage_of(running.receiver.pid)
                sent = await self._send(running, numbers, connections, self.size.seconds)
                after = usage_of(running.receiver.pid)
                figures[f"accepted_{connections}"] = sent.figures() | {
                    "receiver_cpu_us": 1e6 * (after.cpu_seconds - before.cpu_seconds) / max(sent.answered, 1)
                }
        return figures

    async def bare(self) -> Figures:
        """Measure how fast aiohttp answers when it does nothing else."""
        async with self.launcher.running(BARE, workers=0) as running:
            figures: Figures = {}
            for connections in self.size.connections:
                sent = await self._send(running, orders.around(self.size.table), connections, self.size.seconds)
                figures[f"accepted_{connections}"] = sent.figures()
            return figures

    async def standin(self) -> Figures:
        """Measure the stand-in's limit. The load generator is at least as fast."""
        port, headers = self.launcher.standin_port, "Authorization: a-token\r\n"
        single = (load.get(f"/payments/{orders.imp_uid(n)}", headers) for n in orders.around(self.size.table))
        names = "&".join(f"imp_uid[]={orders.imp_uid(orders.FIRST + n)}" for n in range(100))
        batch = (load.get(f"/payments?{names}", headers) for _ in count())
        one = await load.closed_loop(port, 64, single, self.size.seconds / 2)
        many = await load.closed_loop(port, 16, batch, self.size.seconds / 2)
        return {"looks_per_second": one.per_second, "payments_per_second_in_batches": 100 * many.per_second}

    async def backlog(self, system: System, notices: int, workers: int) -> Figures:
        """Measure how fast a number of workers settles notices that were accepted before any worker ran."""
        await self.databases.fresh(notices)
        async with self.launcher.running(system, workers=0) as running:
            numbers = range(orders.FIRST, orders.FIRST + notices)
            last_event = await self._events()
            _expect(await self._send(running, numbers, 256), notices)
            for _ in range(workers):
                self.launcher.add_worker(system, running)
            first, last = await self._drained(running, notices, last_event)
        return {"workers": workers, "notices": notices, "per_second": notices / (last - first)}

    async def grown(self, system: System, table: int, notices: int) -> Figures:
        """Measure how fast payments are settled with `table` orders in the table, spread over all of it."""
        await self.databases.fresh(table)
        step = max(1, table // notices)
        numbers = range(orders.FIRST, orders.FIRST + table, step)[: min(notices, table)]
        async with self.launcher.running(system, workers=1) as running:
            await self.settled(running, numbers[:_WARM_UP], 8)
            await asyncio.sleep(_COPIED_SECONDS + _COPIED_SECONDS_BY_MILLION * table / 10**6)
            return {"orders": table} | await self.settled(running, numbers[_WARM_UP:], 256)

    async def connected(self, system: System, connections: int) -> Figures:
        """Measure how fast payments are settled with a number of connections, which limits the size of batches."""
        await self.databases.fresh(self.size.table)
        async with self.launcher.running(system, workers=1) as running:
            source = count(orders.FIRST)
            await self.settled(running, islice(source, _WARM_UP), min(8, connections))
            before = await self.databases.counters()
            figures = await self.settled(running, islice(source, min(10_000, 300 * connections)), connections)
            jobs = (await self.databases.counters()).redis_jobs - before.redis_jobs
        return {"connections": connections, "notices_per_job": figures["count"] / max(jobs, 1)} | figures

    async def _send(self, running: Running, numbers: Iterable[int], connections: int, seconds: float = 0) -> Load:
        requests = (load.post(WEBHOOKS, orders.webhook(number)) for number in numbers)
        sent = await load.closed_loop(running.port, connections, requests, seconds or None)
        if not sent.answered:
            raise BenchFailed(f"no notice was accepted ({sent.statuses}: {sent.wrong[:300]!r})")
        return sent

    async def settled(self, running: Running, numbers: Iterable[int], connections: int) -> Figures:
        """Send notices as fast as they are accepted, and measure from the first request to the last commit."""
        last_event, looks = await self._events(), await self._looks()
        sent = await self._send(running, numbers, connections)
        _expect(sent, len(sent.latencies))
        _, last = await self._drained(running, sent.answered, last_event)
        looks = await self._looks() - looks
        settled = {"count": sent.answered, "per_second": sent.answered / (last - sent.began_at)}
        return settled | {"looks_per_payment": looks / sent.answered, "accepted": sent.figures()}

    async def _latency(self, running: Running, numbers: list[int], rate: float) -> Figures:
        """Measure the time from the sending of a notice to the commit of its order's new state."""
        last_event = await self._events()
        requests = [load.post(WEBHOOKS, orders.webhook(number)) for number in numbers]
        sent = await load.open_loop(running.port, rate, requests)
        _expect(sent, len(numbers))
        await self._drained(running, len(numbers), last_event)
        async with self.databases.session() as db:
            rows = await db.fetch(_COMMITS, last_event)
        commits = {row["merchant_uid"]: row["at"] for row in rows}
        waits = [commits[orders.merchant_uid(n)] - at for n, at in zip(numbers, sent.sent_at, strict=True)]
        return {"rate": rate} | quantiles(waits)

    async def _pairs(self, running: Running, source: Iterator[int]) -> Figures:
        """Measure the looks that a webhook and a completion call for the same payment cost."""
        numbers, requests, times = list(islice(source, self.size.pairs)), [], []
        for index, number in enumerate(numbers):
            pair = [
                load.post(WEBHOOKS, orders.webhook(number)),
                load.post("/payment/complete", orders.completion(number)),
            ]
            gap = _GAPS_SECONDS[index // 2 % len(_GAPS_SECONDS)]
            requests += pair if index % 2 else pair[::-1]
            times += [index / QUIET_PER_SECOND, index / QUIET_PER_SECOND + gap]
        looks = await self._looks()
        sent = await load.open_loop(running.port, 2 * QUIET_PER_SECOND, requests, times.__getitem__)
        _expect(sent, len(requests))
        await asyncio.sleep(1)  # for looks that are still to come
        return {"looks_per_payment": (await self._looks() - looks) / len(numbers)}

    async def _idle(self, running: Running) -> float:
        await asyncio.sleep(0.5)
        before, began = usage_of(running.workers[0].pid), time.monotonic()
        await asyncio.sleep(max(1.5, self.size.seconds))
        after = usage_of(running.workers[0].pid)
        return 100 * (after.cpu_seconds - before.cpu_seconds) / (time.monotonic() - began)

    async def _looks(self) -> int:
        answer = await load.ask(self.launcher.standin_port, load.get("/count"))
        return int(json.loads(answer)["looks"])

    async def _events(self) -> int:
        """Return the number of the last event. Each settled payment makes one."""
        async with self.databases.session() as db:
            return int(await db.fetchval("SELECT last_value FROM order_events_id_seq"))

    async def _drained(self, running: Running, notices: int, last_event: int) -> tuple[float, float]:
        """Wait for the events of a number of payments. Returns when the first and the last were committed."""
        drawn, still_since = 0, time.monotonic()
        async with self.databases.session() as db:
            while True:
                # The sequence is cheap to read, but also counts rows that were rolled back: so the rows decide.
                now_drawn = await db.fetchval("SELECT last_value FROM order_events_id_seq") - last_event
                if now_drawn > drawn:
                    drawn, still_since = now_drawn, time.monotonic()
                stuck = time.monotonic() - still_since > _STUCK_SECONDS or not all(w.running for w in running.workers)
                if now_drawn >= notices or stuck:
                    row = await db.fetchrow(_SETTLED, last_event)
                    if row["count"] >= notices:
                        return row["first"], row["last"]
                    if stuck:
                        raise BenchFailed(f"of {notices} payments only {row['count']} were settled")
                await asyncio.sleep(_POLL_SECONDS)

    async def usage(self, running: Running) -> dict[str, Usage]:
        processes = {
            "receiver": running.receiver,
            "postgres": self.databases.postgres,
            "redis": self.databases.redis,
            "stand_in": self.launcher.standin,
        }
        usage = {name: usage_of(process.pid) for name, process in processes.items()}
        for worker in running.workers:
            usage["worker"] = usage_of(worker.pid)
        return usage


# The time of a commit comes from Postgres (track_commit_timestamp), which takes it just before the WAL is flushed.
_SETTLED = """
    SELECT count(*) AS count, extract(epoch FROM min(pg_xact_commit_timestamp(xmin)))::float8 AS first,
           extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 AS last
    FROM order_events WHERE id > $1 AND version = 2 AND state = 'paid'
"""
_COMMITS = """
    SELECT merchant_uid, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
    FROM order_events WHERE id > $1 AND version = 2 AND state = 'paid'
"""


def _expect(sent: Load, notices: int) -> None:
    if sent.failed or sent.answered != notices:
        raise BenchFailed(f"{sent.answered} of {notices} got a 200 ({dict(sent.statuses)}: {sent.wrong[:300]!r})")


def _costs(
    settled: int, before: Counters, after: Counters, started: dict[str, Usage], ended: dict[str, Usage]
) -> Figures:
    """Return what each payment of the last saturated measurement cost."""
    return {
        "redis_commands_per_payment": (after.redis_commands - before.redis_commands) / settled,
        "wal_bytes_per_payment": (after.wal_bytes - before.wal_bytes) / settled,
        "wal_fsyncs_per_payment": (after.wal_fsyncs - before.wal_fsyncs) / settled,
        # Without Postgres, because its processes share most of the memory that each of them reports.
        "peak_bytes": {name: usage.peak_bytes for name, usage in ended.items() if name != "postgres"},
        "cpu_us_per_payment": {
            name: 1e6 * (usage.cpu_seconds - started[name].cpu_seconds) / settled for name, usage in ended.items()
        },
    }
