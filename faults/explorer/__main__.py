"""Explore schedules: `python -m faults.explorer --schedules 10000 --seed 1`. `--replay SEED` shows one step by step."""

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from faults.explorer.schedule import Result, Schedule, note_errors
from faults.explorer.scheduler import new_loop
from faults.explorer.world import running_world
from faults.report import write_report

Answer = TypeVar("Answer")


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.explorer", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--jobs", type=int, default=(os.cpu_count() or 1) + 1, help="processes, each with its own databases"
    )
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--keep-going", action="store_true", help="continue after a broken promise")
    parser.add_argument("--report", action="store_true", help="write the figures into docs/faults.md")
    parser.add_argument("--no-deadlocks", action="store_true", help="count a deadlock in Postgres as a broken promise")
    options = parser.parse_args()
    _be_quiet()
    return _many(options) if options.replay is None else _run(_replay(options.replay))


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


async def _replay(seed: int) -> int:
    async with running_world() as world:
        result = await Schedule(world, seed).run()
    _show(result)
    return int(bool(result.broken))


def _many(options: argparse.Namespace) -> int:
    """Divide the seeds among processes, each with its own databases."""
    started = time.monotonic()
    stop = multiprocessing.Event()
    seeds = range(options.seed, options.seed + options.schedules)
    results: multiprocessing.SimpleQueue[Result | int | None] = multiprocessing.SimpleQueue()
    shares = [seeds[n :: options.jobs] for n in range(options.jobs)]
    processes = [multiprocessing.Process(target=_share, args=(share, results, stop)) for share in shares]
    for process in processes:
        process.start()
    count, running = Counter[str](), len(processes)
    while running:
        result = results.get()
        if result is None:
            running -= 1
            continue
        if isinstance(result, int):
            count["deadlocks"] += result
            continue
        count.update(
            schedules=1, steps=result.steps, crashes=result.crashes, faults=result.faults, accepted=result.accepted
        )
        if result.broken:
            count["broken"] += 1
            _show(result)
            if not options.keep_going:
                stop.set()
    for process in processes:
        process.join()  # so that its CPU and that of its databases are counted
    seconds, spent = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = (spent.ru_utime + spent.ru_stime) / max(1, count["schedules"])
    complete = count["schedules"] == len(seeds) or stop.is_set()
    line = (
        f"{count['schedules']} schedules (seeds {seeds[0]} to {seeds[-1]}) in {seconds:.0f} s,"
        f" {60 * count['schedules'] / seconds:.0f} a minute, {cpu_seconds:.3f} s of CPU each:"
        f" {count['steps']} steps, {count['crashes']} crashes,"
        f" {count['faults']} faults, {count['accepted']} notices accepted, {count['deadlocks']} deadlocks,"
        f" {count['broken']} with a broken promise"
    )
    sys.stdout.write(f"{line}\n")
    if options.report:
        write_report(explorer=[f"- {line}"])
    deadlocked = options.no_deadlocks and count["deadlocks"]
    if deadlocked:
        sys.stdout.write("BROKEN: locks were taken in more than one order\n")
    return int(bool(count["broken"] or deadlocked) or not complete)


def _share(seeds: Sequence[int], results: Any, stop: Any) -> None:
    _be_quiet()

    async def explore() -> None:
        async with running_world() as world:
            gc.freeze()  # objects that exist now stay, so the collector need not scan them again
            gc.set_threshold(20_000)
            for seed in seeds:
                if stop.is_set():
                    return
                result = await Schedule(world, seed).run()
                results.put(result if result.broken else replace(result, trace=[]))
            results.put(await world.deadlocks())

    try:
        _run(explore())
    finally:
        results.put(None)


def _be_quiet() -> None:
    structlog.configure(processors=[structlog.processors.format_exc_info, note_errors])
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def _show(result: Result) -> None:
    sys.stdout.write("\n".join(result.trace) + "\n")
    for sentence in result.broken:
        sys.stdout.write(f"BROKEN: {sentence}\n")
    sys.stdout.write(f"again: python -m faults.explorer --replay {result.seed}\n")


if __name__ == "__main__":
    sys.exit(main())
