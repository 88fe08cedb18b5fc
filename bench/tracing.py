"""Measure what tracing costs: `python -m bench.tracing [--rounds 5]`.

Payments are settled as in `bench.steps`, in rounds that alternate, so that a busy moment of the machine affects all:
with tracing off, with traces written to a file at their usual rate, with every trace, and with the code taken out.
"""

import argparse
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from bench.databases import running_databases
from bench.measure import FULL, Bench, BenchFailed
from bench.paths import RESULTS
from bench.steps import Run, settled
from bench.systems import SYSTEMS, Launcher
from cli.errors import CommandFailed
from faults.guards import copy_to

# Each stands once in its file.
_CODE = (
    ("service/usecases/intake.py", "        if self._tracing:\n"),
    ("service/usecases/verification.py", "        if self.tracing:\n"),
)
_FILE = "spans.jsonl"


@dataclass(frozen=True)
class Variant:
    """A way of running: with traces, at most this many a second, or with the code of tracing taken out."""

    name: str
    per_second: str = ""
    is_without: bool = False


OFF = Variant("off")
VARIANTS = (
    Variant("without the code", is_without=True),
    OFF,
    Variant("on", "200"),
    Variant("on, every trace", "1000000"),
)


async def measure(tree: Path, rounds: int) -> None:
    """Print each variant's rate, beside that of tracing that is off in the same round. Raises BenchFailed."""
    RESULTS.mkdir(exist_ok=True)
    measured: defaultdict[Variant, list[Run]] = defaultdict(list)
    async with running_databases() as databases:
        launcher = Launcher(databases, RESULTS, tree)
        bench = Bench(databases, launcher, FULL)
        try:
            await launcher.start_standin()
            for number in range(rounds):
                # Forwards, then backwards: whoever comes first finds a rested machine.
                for variant in VARIANTS if number % 2 else reversed(VARIANTS):
                    measured[variant].append(await _settled(bench, variant))
        finally:
            await launcher.standin.stop()
    for variant in VARIANTS:
        shares = [run.per_second / off.per_second for run, off in zip(measured[variant], measured[OFF], strict=True)]
        rate, used_us, _ = (statistics.median(values) for values in zip(*measured[variant], strict=True))
        line = f"{rate:6,.0f} payments a second, {statistics.median(shares):.3f} of off, {used_us:4.0f} µs of CPU each"
        print(f"{variant.name:18} {line}")


async def _settled(bench: Bench, variant: Variant) -> Run:
    tree = bench.launcher.tree
    (tree / _FILE).unlink(missing_ok=True)
    variables = {}
    if variant.per_second:
        variables = {"TRACE_FILE": str(tree / _FILE), "TRACES_PER_SECOND": variant.per_second}
    originals = {tree / file: (tree / file).read_text("utf-8") for file, _ in _CODE}
    try:
        if variant.is_without:
            _take_out(tree)
        result = await settled(bench, replace(SYSTEMS["ours"], variables=variables))
    finally:
        for file, text in originals.items():
            file.write_text(text, "utf-8")
    if variant.per_second and not (tree / _FILE).stat().st_size:
        raise BenchFailed("no span was written, so this measured nothing")
    return result


def _take_out(tree: Path) -> None:
    for name, text in _CODE:
        file = tree / name
        original = file.read_text("utf-8")
        if original.count(text) != 1:
            raise BenchFailed(f"{text.strip()!r} is not exactly once in {name}: correct it in bench/tracing.py")
        file.write_text(original.replace(text, "        if False:\n"), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.tracing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portone-tracing-") as folder:
        copy_to(Path(folder))
        try:
            uvloop.run(measure(Path(folder), options.rounds))
        except (BenchFailed, CommandFailed) as error:
            sys.exit(f"Broken: {error}")


if __name__ == "__main__":
    main()
