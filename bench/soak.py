"""`python -m bench.soak [NOTICES]`: does memory stay flat, and do tables and indexes grow by what they must?

A notice for each order, ten rounds of a tenth; after each round, once all is settled, memory and dead rows are read.
Fails when a notice or an order is lost. By default 10⁶ notices: as long as that takes, ten minutes or so.
"""

import json
import sys
import time
from typing import Any

import psutil
import uvloop

from bench import orders
from bench.__main__ import RESULTS
from bench.measure import FULL, Bench, BenchFailed
from bench.stores import running_stores
from bench.systems import SYSTEMS, Launcher
from cli.errors import CommandFailed

_ROUNDS = 10
_CONNECTIONS = 256

_TABLES = """
    SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_table_size(relid) AS table_bytes,
           pg_indexes_size(relid) AS index_bytes
    FROM pg_stat_user_tables WHERE relname IN ('orders', 'order_events', 'payments', 'notices') ORDER BY relname
"""
_KEPT = """
    SELECT (SELECT count(*) FROM notices WHERE handled_at IS NOT NULL) AS handled,
           (SELECT count(*) FROM notices WHERE handled_at IS NULL) AS open_or_parked,
           (SELECT count(*) FROM orders WHERE state = 'paid') AS paid
"""


async def soak(notices: int) -> list[dict[str, Any]]:
    """A sample after each round. Raises BenchFailed when anything is lost."""
    RESULTS.mkdir(exist_ok=True)
    samples = []
    async with running_stores() as stores:
        launcher = Launcher(stores, RESULTS)
        try:
            await launcher.start_standin()
            bench = Bench(stores, launcher, FULL)
            await stores.fresh(notices)
            async with launcher.running(SYSTEMS["ours"], workers=1) as running:
                share = notices // _ROUNDS
                for number in range(_ROUNDS):
                    first = orders.FIRST + number * share
                    settled = await bench.settled(running, range(first, first + share), _CONNECTIONS)
                    async with stores.session() as db:
                        tables = {row["name"]: dict(row) for row in await db.fetch(_TABLES)}
                        kept = dict(await db.fetchrow(_KEPT))
                    processes = {"receiver": running.receiver, "worker": running.workers[0]}
                    memory = {
                        name: psutil.Process(process.pid).memory_info().rss for name, process in processes.items()
                    }
                    samples.append(
                        {"per_second": settled["per_second"], "memory": memory, "kept": kept, "tables": tables}
                    )
                    print(_line(share * (number + 1), samples[-1]), flush=True)
                    if kept["paid"] != share * (number + 1):
                        raise BenchFailed(f"of {share * (number + 1)} orders {kept['paid']} are paid")
        finally:
            await launcher.standin.stop()
    return samples


def _line(sent: int, sample: dict[str, Any]) -> str:
    memory = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sample["memory"].items())
    dead = ", ".join(f"{name} {table['dead']:,}" for name, table in sample["tables"].items())
    return f"{sent:,} notices: {sample['per_second']:,.0f}/s; {memory}; dead rows: {dead}; {sample['kept']}"


def main() -> None:
    try:
        samples = uvloop.run(soak(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    (RESULTS / f"soak-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(samples, indent=1), "utf-8")


if __name__ == "__main__":
    main()
