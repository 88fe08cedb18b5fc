"""Measure what tracing costs: `python -m bench.tracing [--rounds 5]`.

Payments are settled as in `bench.steps`, in rounds that alternate, so that a busy moment of the machine affects all:
with tracing off, with every trace written to a file, with one in ten, and with the code of tracing taken out.
"""

import argparse
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from bench.databases import running_databases
from bench.measure import FULL, Bench, BenchFailed
from bench.paths import RESULTS
from bench.steps import settled
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
    """A way of running: the share of the traces that is kept, or with the code of tracing taken out."""

    name: str
    share: float = 0.0
    is_without: bool = False


OFF = Variant("off")
VARIANTS = (
    Variant("without the code", is_without=True),
    OFF,
    Variant("on, one trace in ten", 0.1),
    Variant("on, every trace", 1.0),
)


async def measure(tree: Path, rounds: int) -> None:
    """Print each variant's rate, beside that of tracing that is off in the same round. Raises BenchFailed."""
    RESULTS.mkdir(exist_ok=True)
    rates: defaultdict[Variant, list[float]] = defaultdict(list)
    async with running_databases() as databases:
        launcher = Launcher(databases, RESULTS, tree)
        bench = Bench(databases, launcher, FULL)
        try:
            await launcher.start_standin()
            for number in range(rounds):
                # Forwards, then backwards: whoever comes first finds a rested machine.
                for variant in VARIANTS if number % 2 else reversed(VARIANTS):
                    rates[variant].append(await _rate(bench, variant))
        finally:
            await launcher.standin.stop()
    for variant in VARIANTS:
        shares = [rate / off for rate, off in zip(rates[variant], rates[OFF], strict=True)]
        print(f"{variant.name:22} {_median(rates[variant]):6,.0f} payments a second, {_median(shares):.3f} of off")


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


async def _rate(bench: Bench, variant: Variant) -> float:
    tree = bench.launcher.tree
    (tree / _FILE).unlink(missing_ok=True)
    variables = {}
    if variant.share:
        share = str(variant.share)
        variables = {
            "TRACE_FILE": str(tree / _FILE),
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": share,
        }
    originals = {tree / file: (tree / file).read_text("utf-8") for file, _ in _CODE}
    try:
        if variant.is_without:
            _take_out(tree)
        rate, _ = await settled(bench, replace(SYSTEMS["ours"], variables=variables))
    finally:
        for file, text in originals.items():
            file.write_text(text, "utf-8")
    if variant.share and not (tree / _FILE).stat().st_size:
        raise BenchFailed("no span was written, so this measured nothing")
    return rate


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
