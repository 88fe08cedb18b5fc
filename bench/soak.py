"""Check memory, table sizes and completeness over a long run: `python -m bench.soak [NOTICES] [--publish]`.

Each order gets a notice, in ten rounds. After each round, once all is settled, memory and dead rows are read. At the
end the oracle of faults/, which shares no code with the service, compares every row with PortOne's stand-in. The run
fails when a bound is passed or anything is lost. The default of 10⁶ notices takes about ten minutes.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import uvloop

from bench import orders
from bench.databases import Databases, running_databases
from bench.judging import judge_orders
from bench.measure import FULL, Bench, BenchFailed
from bench.paths import DOCS, RESULTS
from bench.systems import SYSTEMS, Launcher, Running
from cli.errors import CommandFailed

_ROUNDS = 10
_CONNECTIONS = 256
# From this round on only the rows may grow, because every buffer, cache and pool has been filled once.
_SETTLED_ROUND = 3
# The limit for a process's memory, and for a table's and its indexes' bytes a notice, relative to that round.
_GROWTH_MAX = 1.25
# All orders exist before the run, and each is written once more, so without any vacuum the table would double.
_ORDERS_GROWTH_MAX = 2.2
# Dead rows: two a notice for two minutes of full load (autovacuum runs once a minute), and 5 % of the table.
_VACUUM_SECONDS = 120
_DEAD_A_NOTICE = 2
_DEAD_SHARE = 0.05

_TABLES = """
    SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_table_size(relid) AS table_bytes,
           pg_indexes_size(relid) AS index_bytes
    FROM pg_stat_user_tables WHERE relname IN ('orders', 'order_events', 'payments', 'notices') ORDER BY relname
"""


@dataclass(frozen=True)
class Sample:
    """The state after a round. `sent` counts all notices so far, and `memory` is resident bytes."""

    sent: int
    per_second: float
    memory: dict[str, int]
    tables: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        memory = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.memory.items())
        dead = ", ".join(f"{name} {table['dead']:,}" for name, table in self.tables.items())
        return f"{self.sent:,} notices: {self.per_second:,.0f}/s; {memory}; dead rows: {dead}"


async def soak(notices: int) -> list[Sample]:
    """Return a sample for each round. Raises BenchFailed if a bound is passed or anything is lost."""
    RESULTS.mkdir(exist_ok=True)
    samples: list[Sample] = []
    async with running_databases() as databases:
        launcher = Launcher(databases, RESULTS)
        try:
            await launcher.start_standin()
            bench = Bench(databases, launcher, FULL)
            await databases.fresh(notices)
            async with launcher.running(SYSTEMS["ours"], workers=1) as running:
                share = notices // _ROUNDS
                samples.append(await _sample(databases, running, 0, 0))
                for number in range(_ROUNDS):
                    first = orders.FIRST + number * share
                    settled = await bench.settled(running, range(first, first + share), _CONNECTIONS)
                    sample = await _sample(databases, running, share * (number + 1), settled["per_second"])
                    print(sample, flush=True)
                    samples.append(sample)
            sent = range(orders.FIRST, orders.FIRST + share * _ROUNDS)
            if await judge_orders(databases, launcher.standin_port, sent) != len(sent):
                raise BenchFailed(f"of {len(sent):,} accepted notices not all exist")
        finally:
            await launcher.standin.stop()
    _check_bounds(samples)
    return samples


async def _sample(databases: Databases, running: Running, sent: int, per_second: float) -> Sample:
    async with databases.session() as db:
        tables = {row["name"]: dict(row) for row in await db.fetch(_TABLES)}
    processes = {"receiver": running.receiver, "worker": running.workers[0]}
    memory = {name: psutil.Process(process.pid).memory_info().rss for name, process in processes.items()}
    return Sample(sent, per_second, memory, tables)


def _check_bounds(samples: list[Sample]) -> None:
    first, settled, last = samples[0], samples[_SETTLED_ROUND], samples[-1]
    wrong = [
        f"the {name}'s memory grew from {settled.memory[name]:,} to {size:,} bytes"
        for name, size in last.memory.items()
        if size > _GROWTH_MAX * settled.memory[name]
    ]
    for name, table in last.tables.items():
        for part in ("table_bytes", "index_bytes"):
            if name == "orders":
                most = _ORDERS_GROWTH_MAX * first.tables[name][part]
            else:
                most = _GROWTH_MAX * settled.tables[name][part] * last.sent / settled.sent
            if table[part] > most:
                wrong.append(f"{name}: {part} are {table[part]:,}, more than {most:,.0f}")
        dead_max = _DEAD_A_NOTICE * _VACUUM_SECONDS * last.per_second + _DEAD_SHARE * table["live"]
        if table["dead"] > dead_max:
            wrong.append(f"{name}: {table['dead']:,} dead rows, more than {dead_max:,.0f}")
    if wrong:
        raise BenchFailed("; ".join(wrong))


_PAGE = """# A soak test

<!-- Written by `make soak`; change bench/soak.py, not this file. -->

The run sent {sent:,} notices, one for each order, over {connections} connections to one receiver and one worker
({when}). After each tenth, once all was settled, memory and tables were read. At the end the oracle of faults/ compared
every order, event, notice and payment with PortOne's stand-in: nothing was lost, nothing was wrong.

| notices | settled/s | MB: receiver | worker | dead rows: notices | orders | bytes a notice: notices | its indexes |
|---|---|---|---|---|---|---|---|
{rows}

The run fails when it passes one of these bounds:

- From the third tenth on, the memory of a process, and the bytes a notice of each table and of its indexes, grow by at
  most a quarter.
- `orders`, whose rows exist before the run, grows to at most {orders_growth} times its size.
- Dead rows are at most two a notice for two minutes of this load (autovacuum runs once a minute) and {share:.0%} of
  the table.
"""


def page(samples: list[Sample]) -> str:
    """Return the page of a run."""
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
    content = json.dumps([asdict(sample) for sample in samples], indent=1)
    (RESULTS / f"soak-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(content, "utf-8")
    if options.publish:
        (DOCS / "soak.md").write_text(page(samples), "utf-8")


if __name__ == "__main__":
    main()
