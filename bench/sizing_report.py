"""Report the sizing: what was measured beside what the model predicts, and what each rate needs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from bench.marked import write_made
from bench.measure import BenchFailed
from bench.paths import DOCS
from bench.report import machine
from bench.sizing_model import Calibration, Need, Prediction, need, predict

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


# A round: one run of each setup, within minutes.
Runs = Mapping[Setup, Measured]
Item = TypeVar("Item")


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


def tables(rounds: Sequence[Runs], cores: int) -> Tables:
    """Return the tables of a measurement on a machine with these cores."""
    runs = _median([(each[CALIBRATED].per_second, each) for each in rounds])
    full, alone, calibration = runs[CALIBRATED], runs[ALONE], _calibration(runs)
    setups = sorted(runs.keys() - {ALONE}, key=lambda setup: (setup.receivers, setup.workers))
    compared = [_compare(rounds, setup, cores) for setup in setups]
    rates = [each[CALIBRATED].per_second for each in rounds]
    needs = [_need_row(need(calibration, rate), full.wal_bytes) for rate in _RATES]
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    worst = max(abs(row.error) for row in compared)
    text = _TABLES.format(
        when=time.strftime("%Y-%m-%d"),
        machine=facts,
        others=max(run.others for each in rounds for run in each.values()),
        rounds=len(rounds),
        slowest=min(rates),
        fastest=max(rates),
        costs="\n".join(_cost_row(part, full, alone) for part in full.cost),
        full=full.per_second,
        alone=alone.per_second,
        batch=calibration.batch,
        most=calibration.most,
        rows="\n".join(map(_compared_row, compared)),
        worst=100 * worst,
        bound=100 * _ERROR_MAX,
        verdict="holds" if worst <= _ERROR_MAX else "broken",
        needs="\n".join(needs),
    )
    return Tables(text, worst <= _ERROR_MAX)


@dataclass(frozen=True)
class _Compared:
    """A setup's run beside what the model predicts from the calibration of the same round."""

    setup: Setup
    run: Measured
    predicted: Prediction

    @property
    def error(self) -> float:
        return self.predicted.per_second / self.run.per_second - 1


def _compare(rounds: Sequence[Runs], setup: Setup, cores: int) -> _Compared:
    """Return the round of the median error. How the machine changes from minute to minute is no error of the model."""
    compared = []
    for runs in rounds:
        run = runs[setup]
        predicted = predict(_calibration(runs), setup.receivers, setup.workers, cores - run.others)
        compared.append(_Compared(setup, run, predicted))
    return _median([(each.error, each) for each in compared])


def _median(pairs: list[tuple[float, Item]]) -> Item:
    """Return the item with the median number, or the lower one of two."""
    return sorted(pairs, key=itemgetter(0))[(len(pairs) - 1) // 2][1]


def _calibration(runs: Runs) -> Calibration:
    full, alone = runs[CALIBRATED], runs[ALONE]
    return Calibration(full.per_second, full.payments_per_look, full.cost, alone.cost)


def _compared_row(row: _Compared) -> str:
    run, cores_used = row.run, sum(row.run.cost.values()) * row.run.per_second
    return (
        f"| {row.setup.receivers} | {row.setup.workers} | {run.per_second:,.0f} | {row.predicted.per_second:,.0f} |"
        f" {100 * row.error:+.0f} % | {row.predicted.bound} | {cores_used:.2f} |"
    )


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

The largest error is {worst:.0f} % (bound {bound:.0f} %: {verdict}). Other programs took {others:.2f} cores at most. The
machine was not always as fast: one and one settled {slowest:,.0f} to {fastest:,.0f} a second. So each rate is compared
with the calibration of its own round, and the row has the round of the median error, of {rounds}.

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
