"""`python -m bench.soak [NOTICES] [--publish]`: does memory stay flat, do tables grow by what they must, is all there?

A notice for each order, ten rounds of a tenth; after each round, once all is settled, memory and dead rows are read.
In the end the faults' oracle, which shares no code with the service, compares every row with what PortOne's stand-in
says. Fails when a bound is passed or anything is lost. By default 10⁶ notices: ten minutes or so.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import uvloop

from bench import load, orders
from bench.__main__ import RESULTS
from bench.measure import FULL, Bench, BenchFailed
from bench.report import DOCS
from bench.stores import Stores, running_stores
from bench.systems import SYSTEMS, Launcher, Running
from cli.errors import CommandFailed
from faults import oracle

_ROUNDS = 10
_CONNECTIONS = 256
# From this round on nothing may grow but with the rows: by then every buffer, cache and pool has been filled once.
_SETTLED_ROUND = 3
# Resident memory of a process, and a table's and its indexes' bytes a notice, over those of that round.
_GROWTH_MAX = 1.25
# The orders were all there before: each is written once more, so that without a single vacuum they would double.
_ORDERS_GROWTH_MAX = 2.2
# Dead rows: what two minutes of full load leave (autovacuum looks once a minute), two a notice, and 5 % of the table.
_VACUUM_SECONDS = 120
_DEAD_A_NOTICE = 2
_DEAD_SHARE = 0.05
_JUDGED_AT_ONCE = 20_000

_TABLES = """
    SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_table_size(relid) AS table_bytes,
           pg_indexes_size(relid) AS index_bytes
    FROM pg_stat_user_tables WHERE relname IN ('orders', 'order_events', 'payments', 'notices') ORDER BY relname
"""


@dataclass(frozen=True)
class Sample:
    """What a round left: `sent` counts all notices so far, `memory` is resident bytes."""

    sent: int
    per_second: float
    memory: dict[str, int]
    tables: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        memory = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.memory.items())
        dead = ", ".join(f"{name} {table['dead']:,}" for name, table in self.tables.items())
        return f"{self.sent:,} notices: {self.per_second:,.0f}/s; {memory}; dead rows: {dead}"


async def soak(notices: int) -> list[Sample]:
    """A sample after each round. Raises BenchFailed when a bound is passed or anything is lost."""
    RESULTS.mkdir(exist_ok=True)
    samples: list[Sample] = []
    async with running_stores() as stores:
        launcher = Launcher(stores, RESULTS)
        try:
            await launcher.start_standin()
            bench = Bench(stores, launcher, FULL)
            await stores.fresh(notices)
            async with launcher.running(SYSTEMS["ours"], workers=1) as running:
                share = notices // _ROUNDS
                samples.append(await _sample(stores, running, 0, 0))
                for number in range(_ROUNDS):
                    first = orders.FIRST + number * share
                    settled = await bench.settled(running, range(first, first + share), _CONNECTIONS)
                    sample = await _sample(stores, running, share * (number + 1), settled["per_second"])
                    print(sample, flush=True)
                    samples.append(sample)
            await _judge(stores, launcher.standin_port, share * _ROUNDS)
        finally:
            await launcher.standin.stop()
    _hold_bounds(samples)
    return samples


async def _sample(stores: Stores, running: Running, sent: int, per_second: float) -> Sample:
    async with stores.session() as db:
        tables = {row["name"]: dict(row) for row in await db.fetch(_TABLES)}
    processes = {"receiver": running.receiver, "worker": running.workers[0]}
    memory = {name: psutil.Process(process.pid).memory_info().rss for name, process in processes.items()}
    return Sample(sent, per_second, memory, tables)


def _hold_bounds(samples: list[Sample]) -> None:
    fresh, settled, last = samples[0], samples[_SETTLED_ROUND], samples[-1]
    wrong = [
        f"the {name}'s memory grew from {settled.memory[name]:,} to {size:,} bytes"
        for name, size in last.memory.items()
        if size > _GROWTH_MAX * settled.memory[name]
    ]
    for name, table in last.tables.items():
        for part in ("table_bytes", "index_bytes"):
            if name == "orders":
                most = _ORDERS_GROWTH_MAX * fresh.tables[name][part]
            else:
                most = _GROWTH_MAX * settled.tables[name][part] * last.sent / settled.sent
            if table[part] > most:
                wrong.append(f"{name}: {part} are {table[part]:,}, more than {most:,.0f}")
        dead_max = _DEAD_A_NOTICE * _VACUUM_SECONDS * last.per_second + _DEAD_SHARE * table["live"]
        if table["dead"] > dead_max:
            wrong.append(f"{name}: {table['dead']:,} dead rows, more than {dead_max:,.0f}")
    if wrong:
        raise BenchFailed("; ".join(wrong))


async def _judge(stores: Stores, standin_port: int, sent: int) -> None:
    """Have the oracle read every row; all notices, and all payments as PortOne has them, must be there."""
    kept = 0
    for numbers in _slices(sent):
        truth = await _truth(standin_port, numbers)
        async with stores.session() as db:
            rows = await oracle.read_rows(db, [orders.merchant_uid(number) for number in numbers])
        if broken := oracle.judge(rows, truth):
            raise BenchFailed(f"{len(broken)} promises broken, the first: {broken[0]}")
        kept += len(rows.notices)
    if kept != sent:
        raise BenchFailed(f"of {sent:,} accepted notices {kept:,} are there")
    print(f"the oracle read {kept:,} orders with their events, notices and payments: nothing lost, nothing wrong")


def _slices(sent: int) -> Iterator[range]:
    for start in range(0, sent, _JUDGED_AT_ONCE):
        yield range(orders.FIRST + start, orders.FIRST + min(start + _JUDGED_AT_ONCE, sent))


async def _truth(standin_port: int, numbers: range) -> list[dict[str, Any]]:
    truth: list[dict[str, Any]] = []
    for start in range(0, len(numbers), 100):
        names = "&".join(f"imp_uid[]={orders.imp_uid(number)}" for number in numbers[start : start + 100])
        answer = await load.ask(standin_port, load.get(f"/payments?{names}", "Authorization: a-token\r\n"))
        truth += json.loads(answer)["response"]
    return truth


_PAGE = """# A soak

<!-- Written by `make soak`; change bench/soak.py, not this file. -->

{sent:,} notices, one for each order, {connections} connections, one receiver and one worker ({when}). After each tenth,
once all is settled, memory and tables are read. In the end the faults' oracle compared every order, event, notice and
payment with what PortOne's stand-in says: nothing was lost, nothing was wrong.

| notices | settled/s | MB: receiver | worker | dead rows: notices | orders | bytes a notice: notices | its indexes |
|---|---|---|---|---|---|---|---|
{rows}

The bounds, which end the run when they are passed: from the third tenth on, the memory of a process, and the bytes a
notice of each table and of its indexes, grow by no more than a quarter; `orders`, which was there before, by no more
than {orders_growth} times; dead rows are no more than two a notice for two minutes of this load (autovacuum looks once
a minute) and {share:.0%} of the table.
"""


def page(samples: list[Sample]) -> str:
    """What the soak came to, as a page."""
    return _PAGE.format(
        sent=samples[-1].sent,
        connections=_CONNECTIONS,
        when=time.strftime("%Y-%m-%d"),
        rows="\n".join(map(_row, samples[1:])),
        orders_growth=_ORDERS_GROWTH_MAX,
        share=_DEAD_SHARE,
    )


def _row(sample: Sample) -> str:
    notices, of_orders = sample.tables["notices"], sample.tables["orders"]
    figures = (
        f"{sample.sent:,}",
        f"{sample.per_second:,.0f}",
        *(f"{sample.memory[name] / 1e6:.0f}" for name in ("receiver", "worker")),
        *(f"{table['dead']:,}" for table in (notices, of_orders)),
        *(f"{notices[part] / sample.sent:.0f}" for part in ("table_bytes", "index_bytes")),
    )
    return f"| {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("notices", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--publish", action="store_true", help="write docs/soak.md")
    options = parser.parse_args()
    try:
        samples = uvloop.run(soak(options.notices))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    found = json.dumps([asdict(sample) for sample in samples], indent=1)
    (RESULTS / f"soak-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(found, "utf-8")
    if options.publish:
        (DOCS / "soak.md").write_text(page(samples), "utf-8")


if __name__ == "__main__":
    main()
