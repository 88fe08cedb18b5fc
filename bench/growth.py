"""Measure how the rate of portone-orders changes with its work.

`python -m bench.growth [ORDERS]` compares a table of ten million orders with one of ten thousand, which takes too long
for each run of the benchmark. With --publish the next page on speed contains it.
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

import uvloop

from bench import report
from bench.databases import running_databases
from bench.measure import FULL, Bench, BenchFailed, Figures
from bench.paths import LARGE_GROWTH, RESULTS
from bench.systems import SYSTEMS, Launcher
from cli.errors import CommandFailed

_OURS = SYSTEMS["ours"]
_SIZES = (10**3, 10**4, 10**5, 10**6)
_TURNS = 5
_PAYMENTS = 10_000
_BACKLOG = 100_000


async def measure(bench: Bench) -> Figures:
    """Return the rates by orders in the table, connections and workers, and what was published of larger tables."""
    growth = Figures()
    growth["orders"] = await by_orders(bench, _SIZES)
    growth["connections"] = [await bench.connected(_OURS, connections) for connections in (1, 8, 64, 256)]
    print("connections:", [(f["connections"], round(f["per_second"])) for f in growth["connections"]], flush=True)
    growth["workers"] = [await bench.backlog(_OURS, _BACKLOG, workers) for workers in (1, 2, 4)]
    print("workers:", [(f["workers"], round(f["per_second"])) for f in growth["workers"]], flush=True)
    if LARGE_GROWTH.exists():
        growth["large"] = json.loads(LARGE_GROWTH.read_text("utf-8"))
    return growth


async def by_orders(bench: Bench, sizes: tuple[int, ...]) -> list[Figures]:
    """Return the rates for each number of orders: of each turn, and their median, since a machine may be busy for one.

    Sizes alternate, so that a turn's ratio is one of neighbours.
    """
    turns = [{size: await bench.grown(_OURS, size, _PAYMENTS) for size in sizes} for _ in range(_TURNS)]
    rates = {size: [turn[size]["per_second"] for turn in turns] for size in sizes}
    print("orders in the table:", {size: list(map(round, taken)) for size, taken in rates.items()}, flush=True)
    return [{"orders": size, "per_second": statistics.median(taken), "turns": taken} for size, taken in rates.items()]


async def _large(orders: int) -> dict[str, Any]:
    RESULTS.mkdir(exist_ok=True)
    async with running_databases() as databases:
        launcher = Launcher(databases, RESULTS)
        try:
            await launcher.start_standin()
            rates = await by_orders(Bench(databases, launcher, FULL), (10**4, orders))
        finally:
            await launcher.standin.stop()
    return {"when": time.strftime("%Y-%m-%d"), "machine": report.machine(), "orders": rates}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.growth", description=__doc__)
    parser.add_argument("orders", nargs="?", type=int, default=10**7)
    parser.add_argument("--publish", action="store_true", help=f"write docs/{LARGE_GROWTH.name}")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        results = uvloop.run(_large(options.orders))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    print(f"Took {time.monotonic() - began:.0f} s.")
    if options.publish:
        LARGE_GROWTH.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
