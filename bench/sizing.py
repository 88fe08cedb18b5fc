"""Measure whole lives a second with 1, 2 and 4 receivers and workers, and check the model that says what a rate needs.

`python -m bench.sizing [--publish]`. docs/sizing.md explains it, and has what the last published run found.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import psutil
import uvloop

from bench import load, orders, sizing_report
from bench.buyers import UNCONFIRMED, Buyers
from bench.databases import Databases, running_databases
from bench.life import check
from bench.load import Load
from bench.measure import BenchFailed
from bench.paths import RESULTS
from bench.sizing_report import ALONE, Measured, Setup
from bench.systems import SYSTEMS, Launcher, Running
from bench.usage import cpu_seconds_by_part
from cli.errors import CommandFailed

_OURS = SYSTEMS["ours"]
_SETUPS = tuple(Setup(receivers, workers) for receivers in (1, 2, 4) for workers in (1, 2, 4))
_WORKERS_LOG = RESULTS / "ours_worker.log"
_ORDERS = 10_000
_WARM_UP_SECONDS = 1.5
_START_SECONDS = 60.0
_POLL_SECONDS = 0.02
_OPEN_FILES = 4_096


@dataclass(frozen=True)
class Reading:
    """All counters at one moment: CPU seconds by part and of the whole machine, WAL bytes, looks at PortOne."""

    at: float
    cpu: Mapping[str, float]
    machine_cpu: float
    wal_bytes: int
    looks: int


@dataclass(frozen=True)
class Sizing:
    """The databases and processes of one run. Each measurement takes `seconds`."""

    databases: Databases
    launcher: Launcher
    seconds: float

    async def measure(self, setup: Setup) -> Measured:
        """Measure whole lives with the setup's receivers and workers. Raises BenchFailed."""
        await self.databases.fresh(_ORDERS)
        numbers = count(orders.FIRST_NEW)
        async with self.launcher.running(_OURS, workers=0) as running:
            await self._start_more(running, setup)
            check("a life", await self._live(running, setup, Buyers(numbers, _WARM_UP_SECONDS, UNCONFIRMED)))
            before = await self._read(running)
            lives = await self._live(running, setup, Buyers(numbers, self.seconds, UNCONFIRMED))
            after = await self._read(running)
        check("a life", lives)
        return _measured(lives, before, after)

    async def _live(self, running: Running, setup: Setup, buyers: Buyers) -> Load:
        return await buyers.shop(running.port, setup.buyers, *running.more_receivers)

    async def _start_more(self, running: Running, setup: Setup) -> None:
        """Start the rest, and wait until all workers work: their start costs as much as many payments."""
        _WORKERS_LOG.unlink(missing_ok=True)
        for _ in range(setup.receivers - 1):
            await self.launcher.add_receiver(_OURS, running)
        for _ in range(setup.workers):
            self.launcher.add_worker(_OURS, running)
        deadline = time.monotonic() + _START_SECONDS
        while _WORKERS_LOG.read_bytes().count(b"worker.started") < setup.workers:
            if time.monotonic() > deadline:
                raise BenchFailed(f"after {_START_SECONDS:.0f} s not all workers have started; see {_WORKERS_LOG}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _read(self, running: Running) -> Reading:
        parts = {
            "receiver": (running.receiver, *running.more_receivers.values()),
            "worker": running.workers,
            "postgres": (self.databases.postgres,),
            "redis": (self.databases.redis,),
            "stand_in": (self.launcher.standin,),
        }
        counters = await self.databases.counters()
        counted = json.loads(await load.ask(self.launcher.standin_port, load.get("/count")))
        cpu = cpu_seconds_by_part({part: [process.pid for process in each] for part, each in parts.items()})
        return Reading(
            time.perf_counter(),
            cpu | {"load": time.process_time()},
            _machine_cpu(),
            counters.wal_bytes,
            counted["looks"],
        )


def _machine_cpu() -> float:
    """Return the CPU seconds of everything that ran, and of other machines on the same cores where that is told."""
    times: dict[str, float] = psutil.cpu_times()._asdict()
    # What guests took is in `user` too.
    idle = sum(times.get(name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))
    return sum(times.values()) - idle


def _measured(lives: Load, before: Reading, after: Reading) -> Measured:
    used = {part: after.cpu[part] - before.cpu[part] for part in before.cpu}
    others = after.machine_cpu - before.machine_cpu - sum(used.values())
    return Measured(
        per_second=lives.per_second,
        cost={part: seconds / lives.answered for part, seconds in used.items()},
        others=max(0.0, others / (after.at - before.at)),
        wal_bytes=(after.wal_bytes - before.wal_bytes) / lives.answered,
        payments_per_look=lives.answered / max(1, after.looks - before.looks),
    )


async def measure(rounds: int, seconds: float) -> list[dict[Setup, Measured]]:
    """Measure every setup in each round. The order rotates from round to round."""
    RESULTS.mkdir(exist_ok=True)
    setups, results = (ALONE, *_SETUPS), list[dict[Setup, Measured]]()
    async with running_databases() as databases:
        launcher = Launcher(databases, RESULTS)
        try:
            await launcher.start_standin()
            sizing = Sizing(databases, launcher, seconds)
            for number in range(rounds):
                first, runs = 3 * number % len(setups), dict[Setup, Measured]()
                for setup in setups[first:] + setups[:first]:
                    runs[setup] = await sizing.measure(setup)
                    print(sizing_report.line(setup, runs[setup]), flush=True)
                results.append(runs)
        finally:
            await launcher.standin.stop()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sizing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--publish", action="store_true", help="write the tables of docs/sizing.md")
    options = parser.parse_args()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files if 0 <= files < _OPEN_FILES else _OPEN_FILES, files))
    try:
        rounds = uvloop.run(measure(options.rounds, options.seconds))
        tables = sizing_report.tables(rounds, os.cpu_count() or 1)
        print(tables.text)
        if options.publish:
            sizing_report.publish(tables, max(run.others for runs in rounds for run in runs.values()))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    if not tables.holds:
        sys.exit("The model is wrong by more than the bound.")


if __name__ == "__main__":
    main()
