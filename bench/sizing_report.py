"""Report the sizing: what was measured beside what the model predicts, and what each rate needs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.marked import write_made
from bench.measure import BenchFailed
from bench.paths import DOCS
from bench.report import machine
from bench.sizing_model import Calibration, Need, need, predict

PAGE = DOCS / "sizing.md"
_ERROR_MAX = 0.20
# With more of the cores taken by other programs than this, a run says little.
_OTHERS_MAX = 0.2
_RATES = (10**2, 10**3, 10**4)
# Tables and indexes for a settled order with one payment and one notice: docs/growing.md, "What a million orders take".
_ORDER_BYTES = 1_678
_DAY_SECONDS = 86_400
_TITLES = {"receiver": "receivers", "worker": "workers", "postgres": "Postgres", "redis": "Redis"} | {
    "stand_in": "stand-in for PortOne", "load": "load generator"
}  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """The numbers of processes, and of buyers who live one order's life after the other."""

    receivers: int
    workers: int
    buyers: int = 256


CALIBRATED = Setup(1, 1)
ALONE = Setup(1, 1, buyers=1)


@dataclass(frozen=True)
class Measured:
    """The figures of a setup. `cost` has CPU seconds a payment, `others` the cores that other programs took."""

    per_second: float
    cost: Mapping[str, float]
    others: float
    wal_bytes: float
    payments_per_look: float


@dataclass(frozen=True)
class Tables:
    """The report, and whether every prediction is within the bound."""

    text: str
    holds: bool


def line(setup: Setup, run: Measured) -> str:
    costs = ", ".join(f"{part} {1e6 * seconds:.0f}" for part, seconds in run.cost.items())
    return (
        f"{setup.receivers} receiver(s), {setup.workers} worker(s), {setup.buyers} buyer(s): {run.per_second:,.0f}/s;"
        f" µs: {costs}; others took {run.others:.2f} cores; {run.payments_per_look:.1f} payments a look"
    )


def tables(runs: Mapping[Setup, Measured], cores: int) -> Tables:
    """Return the tables of a run on a machine with these cores."""
    full, alone = runs[CALIBRATED], runs[ALONE]
    calibration = Calibration(full.per_second, full.payments_per_look, full.cost, alone.cost)
    rows, errors = [], []
    for setup, run in runs.items():
        if setup != ALONE:
            predicted = predict(calibration, setup.receivers, setup.workers, cores - run.others)
            errors.append(predicted.per_second / run.per_second - 1)
            rows.append(
                f"| {setup.receivers} | {setup.workers} | {run.per_second:,.0f} | {predicted.per_second:,.0f} |"
                f" {100 * errors[-1]:+.0f} % | {predicted.bound} | {sum(run.cost.values()) * run.per_second:.2f} |"
            )
    needs = [_need_row(need(calibration, rate), full.wal_bytes) for rate in _RATES]
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    worst = max(map(abs, errors))
    text = _TABLES.format(
        when=time.strftime("%Y-%m-%d"),
        machine=facts,
        others=max(run.others for run in runs.values()),
        costs="\n".join(_cost_row(part, full, alone) for part in full.cost),
        full=full.per_second,
        alone=alone.per_second,
        batch=calibration.batch,
        most=calibration.most,
        rows="\n".join(rows),
        worst=100 * worst,
        bound=100 * _ERROR_MAX,
        verdict="holds" if worst <= _ERROR_MAX else "broken",
        needs="\n".join(needs),
    )
    return Tables(text, worst <= _ERROR_MAX)


def _cost_row(part: str, full: Measured, alone: Measured) -> str:
    used = full.cost[part] * full.per_second
    return f"| {_TITLES[part]} | {1e6 * full.cost[part]:,.0f} | {used:.2f} | {1e6 * alone.cost[part]:,.0f} |"


def _need_row(needed: Need, wal_bytes: float) -> str:
    return (
        f"| {needed.per_second:,} | {needed.receivers} | {needed.workers} | {needed.cores} | {needed.postgres_cores} |"
        f" {100 * needed.redis_part:.0f} % | {needed.per_second * wal_bytes / 1e6:,.1f} |"
        f" {needed.per_second * _ORDER_BYTES * _DAY_SECONDS / 1e9:,.0f} |"
    )


def publish(report: Tables, others: float, page: Path = PAGE) -> None:
    """Write the tables into the page. Raises BenchFailed if other programs took too much of the machine."""
    if others > _OTHERS_MAX:
        raise BenchFailed(f"other programs took {others:.2f} cores, so this run is not published")
    write_made(page, "sizing", report.text)


_TABLES = """## What a rate needs

| payments a second | receivers | workers | their cores | Postgres' cores | Redis, of a core | WAL MB/s | GB a day |
|---|---|---|---|---|---|---|---|
{needs}

## Predicted and measured

Measured on {when}, everything on one machine: {machine}.

The largest error is {worst:.0f} % (bound {bound:.0f} %: {verdict}). Other programs took {others:.2f} cores at most.

| receivers | workers | measured, payments a second | predicted | error | what bounds it | cores used |
|---|---|---|---|---|---|---|
{rows}

## The calibration

One receiver and one worker settle {full:,.0f} payments a second for 256 buyers, {batch:.0f} payments a look, and
{alone:,.0f} for a single buyer. The busiest process then uses {most:.2f} of a core.

| part | CPU µs a payment, 256 buyers | cores | CPU µs a payment, one buyer |
|---|---|---|---|
{costs}
"""
