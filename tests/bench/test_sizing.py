"""The sizing model, by numbers that can be checked by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import sizing_report
from bench.measure import BenchFailed
from bench.sizing_model import Calibration, need, predict
from bench.sizing_report import ALONE, CALIBRATED, Measured, Setup, Tables

_FULL = {"receiver": 400e-6, "worker": 100e-6, "postgres": 200e-6, "redis": 10e-6, "stand_in": 10e-6, "load": 80e-6}
# Batches of ten: a receiver's payment costs 200 µs and a batch 2 ms.
_ALONE = {
    "receiver": 2200e-6,
    "worker": 1000e-6,
    "postgres": 1100e-6,
    "redis": 100e-6,
    "stand_in": 10e-6,
    "load": 80e-6,
}
_BATCHED = Calibration(per_second=2000, batch=10, full=_FULL, alone=_ALONE)
_EVEN = replace(_BATCHED, alone=_FULL)


@pytest.mark.parametrize(
    ("receivers", "cores", "per_second", "bound"),
    [
        (1, 2, 2000, "receivers"),  # which used 0.8 of a core
        (2, 2, 2500, "cores"),  # 800 µs a payment
        (2, 8, 4000, "receivers"),
        (4, 8, 8000, "receivers"),
        (8, 16, 8000, "workers"),
        (8, 64, 8000, "workers"),
    ],
)
def test_the_scarcest_part_bounds_the_rate(receivers: int, cores: float, per_second: float, bound: str) -> None:
    """Without costs of batches the rate is the least of what processes of 0.8 of a core each, and all cores, can do."""
    prediction = predict(_EVEN, receivers, 1, cores)
    assert prediction.per_second == pytest.approx(per_second)
    assert prediction.bound == bound


def test_smaller_batches_cost_every_payment_more() -> None:
    """A batch's cost is divided among its payments, of which there is one at least."""
    assert _BATCHED.cost("receiver", 1) == pytest.approx(400e-6)
    assert _BATCHED.cost("receiver", 1 / 2) == pytest.approx(600e-6)
    assert _BATCHED.cost("receiver", 1 / 1000) == pytest.approx(2200e-6)
    costs = _BATCHED.costs(1 / 2, 1 / 4)
    assert costs["receiver"] == pytest.approx(200e-6 + 200e-6 * 4)  # its own half, and the root of the worker's quarter
    assert costs["postgres"] == pytest.approx(100e-6 + 100e-6 * (2 + 4) / 2)
    assert costs["load"] == pytest.approx(80e-6)


def test_more_processes_on_the_same_cores_do_less() -> None:
    """When the cores are the bound, twice the processes settle fewer payments."""
    few, many = predict(_BATCHED, 2, 2, 2), predict(_BATCHED, 4, 4, 2)
    assert (few.bound, many.bound) == ("cores", "cores")
    assert many.per_second < few.per_second


def test_a_rate_needs_two_of_each_and_as_many_as_have_headroom() -> None:
    """Each process is asked for 0.6 of what it can do, and one of each kind may be away."""
    small, large = need(_EVEN, 100), need(_EVEN, 10_000)
    assert (small.receivers, small.workers, small.cores, small.postgres_cores) == (2, 2, 1, 1)
    # 4 cores of receivers and 1 of workers, of which each has 0.48.
    assert (large.receivers, large.workers, large.cores, large.postgres_cores) == (9, 3, 9, 4)
    assert large.redis_part == pytest.approx(0.1)


def test_a_small_rate_pays_for_its_small_batches() -> None:
    """At a hundred a second every payment costs what a single buyer's does."""
    assert need(_BATCHED, 100).redis_part == pytest.approx(100 * 100e-6)


def test_the_report_says_how_far_the_model_is_off() -> None:
    """A measured rate that is 20 % away from the predicted one breaks the bound only beyond it."""
    full, alone = Measured(2000, _FULL, 0.0, 4000, 10), Measured(100, _FULL, 0.0, 4000, 1)
    runs = {ALONE: alone, CALIBRATED: full, Setup(2, 1): replace(full, per_second=2500 / 1.19)}
    report = sizing_report.tables([runs], 2)
    assert report.holds
    assert "| 2 | 1 | 2,101 | 2,500 | +19 % | cores | 1.68 |" in report.text
    assert "| 10,000 | 9 | 3 | 9 | 4 | 10 % | 40.0 | 1,450 |" in report.text
    assert not sizing_report.tables([runs | {Setup(2, 1): replace(full, per_second=2500 / 1.21)}], 2).holds


def test_each_round_is_compared_with_its_own_calibration() -> None:
    """A machine that is slower in one round makes no error, and one odd round of three decides nothing."""
    full, alone, two = Measured(2000, _FULL, 0.0, 4000, 10), Measured(100, _FULL, 0.0, 4000, 1), Setup(2, 1)
    fast = {ALONE: alone, CALIBRATED: full, two: replace(full, per_second=2500)}
    twice = {part: 2 * seconds for part, seconds in _FULL.items()}
    slow = {setup: replace(run, per_second=run.per_second / 2, cost=twice) for setup, run in fast.items()}
    odd = fast | {two: replace(full, per_second=1000)}
    report = sizing_report.tables([slow, odd, fast], 2)
    assert report.holds
    assert "+0 % | cores" in report.text
    assert "1,000 to 2,000 a second" in report.text
    assert not sizing_report.tables([odd], 2).holds


def test_only_a_run_that_was_alone_is_published(tmp_path: Path) -> None:
    """New tables replace the old ones, between the page's own words, and not if other programs had the cores."""
    page = tmp_path / "sizing.md"
    page.write_text(sizing_report.PAGE.read_text("utf-8"), "utf-8")
    sizing_report.publish(Tables("old", holds=True), others=0.1, page=page)
    sizing_report.publish(Tables("new", holds=True), others=0.1, page=page)
    with pytest.raises(BenchFailed, match=r"took 0\.50 cores"):
        sizing_report.publish(Tables("busy", holds=True), others=0.5, page=page)
    text = page.read_text("utf-8")
    assert text.count("<!--") == 2
    assert "-->\n\nnew\n<!-- end" in text
    assert text.startswith("# How many\n")
    assert "## The model" in text
