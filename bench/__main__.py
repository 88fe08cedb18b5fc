"""Run the benchmark: `python -m bench`. CI runs `--small`, which fails if something is broken, never on speed."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Awaitable
from typing import Any

import uvloop

from bench import growth, life, limits, overload, report
from bench.databases import running_databases
from bench.measure import FULL, SMALL, Bench, BenchFailed, Figures
from bench.paths import RESULTS
from bench.systems import LIVES, SYSTEMS, Launcher
from cli.errors import CommandFailed

LIMITS = ("redis_enqueue", "standin", "bare", "pgbench_transaction", "pgbench_statement")
# What is compared stands close together, because the speed of a shared machine changes within minutes.
_WHOLE_RUN = (*LIMITS, *SYSTEMS)
_SMALL_RUN = ("ours", "arq_tuned", "plain", "bare", "pgbench_transaction", "pgbench_statement", "standin")
# As many open files as the largest flood needs on each side, and more: a service has them in production.
_OPEN_FILES = 16_384
_STEPS = (*life.STEPS, "overload")


def main() -> None:
    options = _options()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files if 0 <= files < _OPEN_FILES else _OPEN_FILES, files))
    began = time.monotonic()
    try:
        results = uvloop.run(_run(options))
    except (BenchFailed, CommandFailed) as error:
        sys.exit(f"Broken: {error}")
    print(report.summary(results))
    print(f"Took {time.monotonic() - began:.0f} s.")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(results, indent=1), "utf-8")
    if options.publish:
        report.publish(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--small", action="store_true", help="check within a minute that everything still works")
    parser.add_argument(
        "--life", action="store_true", help="measure only an order's life: its steps, the whole, the mix under overload"
    )
    parser.add_argument("--steps", default="", help=f"with --life, comma-separated, from {', '.join(_STEPS)}")
    parser.add_argument("--only", default="", help=f"comma-separated, from {', '.join((*SYSTEMS, *LIMITS))}")
    parser.add_argument("--rounds", type=int, default=0, help="default: 3, or 1 with --small")
    parser.add_argument("--growth", action=argparse.BooleanOptionalAction, help="measure growth; not with --small")
    parser.add_argument("--pooler", action="store_true", help="measure only ours, with its receivers behind PgBouncer")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.{json,md,svg}")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.small else 3)
    options.names = tuple(options.only.split(",")) if options.only else _names(options)
    if unknown := set(options.names) - {*SYSTEMS, *LIMITS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.steps = tuple(options.steps.split(",")) if options.steps else _STEPS
    if unknown := set(options.steps) - {*_STEPS}:
        parser.error(f"unknown steps: {', '.join(sorted(unknown))}")
    if options.publish and (options.life or options.only or options.small or options.pooler):
        parser.error("only a whole run can be published")
    if options.growth is None:
        options.growth = not (options.small or options.only or options.life or options.pooler)
    return options


def _names(options: argparse.Namespace) -> tuple[str, ...]:
    if options.pooler:
        return ("ours",)
    if options.life:
        return ("ours", "plain", "standin") if options.small else (*LIVES, "standin")
    return _SMALL_RUN if options.small else _WHOLE_RUN


async def _run(options: argparse.Namespace) -> dict[str, Any]:
    RESULTS.mkdir(exist_ok=True)
    async with running_databases(pooled=options.pooler) as databases:
        logs = RESULTS / "logs"
        logs.mkdir(exist_ok=True)
        for old in logs.glob("*.log"):
            old.unlink()
        launcher = Launcher(databases, logs)
        try:
            await launcher.start_standin()
            bench = Bench(databases, launcher, SMALL if options.small else FULL)
            rounds = [await _round(bench, options, number) for number in range(options.rounds)]
            grown = await growth.measure(bench) if options.growth else {}
        finally:
            await launcher.standin.stop()
    return {"when": time.strftime("%Y-%m-%d"), "machine": report.machine(), "rounds": rounds, "growth": grown}


async def _round(bench: Bench, options: argparse.Namespace, number: int) -> dict[str, Figures]:
    """Measure each system once. The order rotates from round to round, so that none is always first.

    Each step of an order's life is measured in one system right after the other.
    """
    figures: dict[str, Figures] = {name: {} for name in options.names}

    async def take(name: str, measurement: Awaitable[Figures]) -> None:
        began = time.monotonic()
        measured = await _checked(name, measurement)
        figures[name] |= measured
        print(report.line(name, measured), f"[{time.monotonic() - began:.0f} s]", flush=True)

    for name in _rotated(options.names, number):
        if name != "plain" and not (options.life and name in SYSTEMS):
            await take(name, _one(bench, name))
    for step in life.STEPS:
        for name in _rotated(LIVES, number):
            if step in options.steps and name in options.names:
                await take(name, life.measure(bench, SYSTEMS[name], step))
    if "ours" in options.names and "overload" in options.steps:
        await take("ours", overload.measure(bench, SYSTEMS["ours"]))
    return figures


def _rotated(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    first = number % len(names)
    return names[first:] + names[:first]


async def _one(bench: Bench, name: str) -> Figures:
    match name:
        case "bare":
            return await bench.bare()
        case "standin":
            return await bench.standin()
        case "redis_enqueue":
            return await limits.redis_enqueue(bench)
        case "pgbench_transaction":
            return await limits.pgbench(bench, "transaction.sql")
        case "pgbench_statement":
            return await limits.pgbench(bench, "statement.sql")
        case "ours":
            return await bench.measure(SYSTEMS[name])
        case _:
            try:
                return await bench.measure(SYSTEMS[name])
            except BenchFailed as error:  # a system that loses a notice at times gets a second try, to have its figures
                print(f"{name}: {error}", flush=True)
                return await bench.measure(SYSTEMS[name])


async def _checked(name: str, measurement: Awaitable[Figures]) -> Figures:
    try:
        return await measurement
    except BenchFailed as error:
        raise BenchFailed(f"{name}: {error}; its logs are in {RESULTS / 'logs'}") from error


if __name__ == "__main__":
    main()
