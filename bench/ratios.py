"""Compute medians and spreads over the rounds, and the ratios within one run that must hold."""

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

_PEERS = ("saq_tuned", "taskiq_tuned")
_OTHERS = ("arq_plain", *_PEERS, "express", "express_cached")


@dataclass(frozen=True)
class Figure:
    """A number of a system: the median of its rounds, the least and the most."""

    median: float
    least: float
    most: float


Medians = dict[str, dict[str, Figure]]


@dataclass(frozen=True)
class Ratio:
    """A promise about speed. Without a value it was not measured, and without a floor it is not promised."""

    sentence: str
    value: float | None
    floor: float | None
    target: float | None = None
    at_most: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool | None:
        if self.value is None or self.floor is None:
            return None
        return self.value <= self.floor if self.at_most else self.value >= self.floor


def medians(rounds: list[dict[str, Any]]) -> Medians:
    """Return the medians by system, then by the number's path, such as `settled_64.per_second`."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for figures in rounds:
        for system, numbers in figures.items():
            for path, value in _leaves(numbers):
                values[system][path].append(value)
    return {
        system: {path: Figure(statistics.median(v), min(v), max(v)) for path, v in paths.items()}
        for system, paths in values.items()
    }


def _leaves(numbers: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    leaves: list[tuple[str, float]] = []
    for name, value in numbers.items():
        leaves += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, float(value))]
    return leaves


def most_connections(figures: Medians) -> int:
    """Return the largest number of connections of the run: 256, or 64 in a small run."""
    return 256 if "settled_256.per_second" in figures.get("ours", {}) else 64


def ratios(figures: Medians, growth: dict[str, Any]) -> list[Ratio]:
    """Return each ratio that must hold, with its floor and target."""
    connections = most_connections(figures)

    def median(system: str, path: str) -> float | None:
        figure = figures.get(system, {}).get(path)
        return figure.median if figure else None

    settled = f"settled_{connections}.per_second"
    ours, best = median("ours", settled), _most(median(system, settled) for system in _OTHERS)
    lean = median("express_lean", settled)
    best_peer = _least(median(peer, "notice_to_commit_quiet.p50_ms") for peer in _PEERS)
    quiet, accepted = median("ours", "notice_to_commit_quiet.p50_ms"), f"accepted_{connections}.per_second"
    delay = quiet - best_peer if quiet is not None and best_peer is not None else None
    return [
        Ratio("1. settled/s relative to tuned arq", _over(ours, median("arq_tuned", settled)), 6, 8),
        Ratio("1. settled/s relative to the best other alternative", _over(ours, best), 3.5, 5),
        Ratio("1. settled/s relative to an Express handler leaner than the guide's", _over(ours, lean), None),
        Ratio(
            "1. settled/s relative to pgbench's plain transaction",
            _over(ours, median("pgbench_transaction", "settled_32.per_second")), 0.7, 1,
        ),
        Ratio(
            "1. settled/s relative to pgbench's one statement",
            _over(ours, median("pgbench_statement", "settled_32.per_second")), 0.35, 0.5,
        ),
        Ratio("2. accepted/s relative to bare aiohttp", _over(median("ours", accepted), median("bare", accepted)), 0.6),
        Ratio("3. notice to commit p50 at 20/s, above the best other queue", delay, 3, at_most=True, unit=" ms"),
        Ratio("3. an idle worker's share of a core", median("ours", "idle_worker_cpu_percent"), 2, None, True, " %"),
        Ratio("4. looks a payment, webhook and call", median("ours", "pairs.looks_per_payment"), 1.05, None, True, ""),
        Ratio(
            "4. looks a payment at saturation",
            median("ours", f"settled_{connections}.looks_per_payment"), 0.05, None, True, "",
        ),
        Ratio("5. settled/s with 10⁶ orders relative to 10⁴", _grown(growth), 0.8),
    ]  # fmt: skip


def _grown(growth: dict[str, Any]) -> float | None:
    rates = {figures["orders"]: figures["per_second"] for figures in growth.get("orders", [])}
    return _over(rates.get(10**6), rates.get(10**4))


def _over(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _most(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _least(values: Any) -> float | None:
    return min((value for value in values if value is not None), default=None)
