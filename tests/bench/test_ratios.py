"""Ratios say what holds, and nothing of what was not measured."""

import pytest

from bench import report
from bench.ratios import Ratio, medians, ratios


@pytest.mark.parametrize(
    ("value", "at_most", "holds", "on_target"),
    [
        (1.9, False, False, False),
        (2.0, False, True, False),
        (4.0, False, True, True),
        (2.1, True, False, False),
        (2.0, True, True, False),
        (1.0, True, True, True),
    ],
)
def test_a_bound_is_reached_by_its_own_value(value: float, at_most: bool, holds: bool, on_target: bool) -> None:
    """A value equal to the floor holds and one equal to the target is on target, whichever side is the good one."""
    ratio = Ratio("", value, 2, 1 if at_most else 4, at_most)
    assert (ratio.holds, ratio.on_target) == (holds, on_target)


def test_a_run_of_two_systems_compares_only_those() -> None:
    """Ratios to a system that did not run have no value, and the summary leaves them out."""
    steps = {"read_256": {"per_second": 3000.0, "p99_ms": 9.0}, "register_1": {"per_second": 90.0}}
    peers = {"read_256": {"per_second": 1500.0, "p99_ms": 12.0}, "register_1": {"per_second": 100.0}}
    rounds = [{"ours": steps, "plain": peers}]
    compared = {ratio.sentence: ratio for ratio in ratios(medians(rounds), {})}
    assert compared["3. reads/s relative to plain handlers"].value == 2
    assert compared["3. reads' p99 relative to plain handlers"].holds
    assert compared["4. whole lives/s relative to Express"].value is None
    assert len(report.summary({"rounds": rounds, "growth": {}}).splitlines()) == 5


def test_each_round_is_compared_with_itself() -> None:
    """A machine that is half as fast in two of three rounds changes no ratio, nor the gap to the best other queue."""
    fast = {"complete_16": {"per_second": 1500.0}, "notice_to_commit_quiet": {"p50_ms": 3.0}}
    slow = {"complete_16": {"per_second": 700.0}, "notice_to_commit_quiet": {"p50_ms": 6.0}}
    rounds = [
        {"ours": fast, "express_cached": {"complete_16": {"per_second": 1200.0}}, "saq_tuned": _waited(2.5)},
        {"ours": slow, "express_cached": {"complete_16": {"per_second": 800.0}}, "saq_tuned": _waited(5.0)},
        {"ours": fast, "express_cached": {"complete_16": {"per_second": 1000.0}}, "saq_tuned": _waited(2.0)},
    ]
    values = {ratio.sentence: ratio.value for ratio in ratios(medians(rounds), _GROWTH)}
    assert values["1. completions/s, 16 connections, relative to Express"] == 1.25
    assert values["5. notice to commit p50 at 20/s, above the best other queue"] == 1
    assert values["7. settled/s with 10⁶ orders relative to 10⁴"] == 0.75


# Its median rates are in the ratio 0.5.
_GROWTH = {
    "orders": [
        {"orders": 10**4, "per_second": 4000.0, "turns": [4000.0, 8000.0, 2000.0]},
        {"orders": 10**6, "per_second": 2000.0, "turns": [2000.0, 6000.0, 1500.0]},
    ]
}


def _waited(p50_ms: float) -> dict[str, dict[str, float]]:
    return {"notice_to_commit_quiet": {"p50_ms": p50_ms}}


def test_a_refused_webhook_under_the_flood_does_not_hold() -> None:
    """One refused webhook in one of three rounds breaks the promise that none is, although the median is none."""
    calm = {"webhook_flooded": {"per_second": 9000.0, "failed": 0}, "webhook_alone": {"per_second": 10000.0}}
    worst = {"webhook_flooded": {"per_second": 9000.0, "failed": 1}, "webhook_alone": {"per_second": 10000.0}}
    figures = medians([{"ours": {"overload": overload}} for overload in (calm, worst, calm)])
    holds = {ratio.sentence: ratio.holds for ratio in ratios(figures, {})}
    assert holds["6. webhooks refused under the flood"] is False
    assert holds["6. accepted/s under a flood of reads, relative to without"] is True
