"""Compute medians and spreads over the rounds, and the ratios within a round that must hold."""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import truediv
from typing import Any

_STEPS = "(?:life|register|read|complete)"
_PEERS = ("saq_tuned", "taskiq_tuned")
_OTHERS = ("arq_plain", *_PEERS, "express", "express_cached")


@dataclass(frozen=True)
class Figure:
    """A number of a system in each round."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def least(self) -> float:
        return min(self.rounds)

    @property
    def most(self) -> float:
        return max(self.rounds)


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
        """Return whether the floor holds, or None where there is nothing to compare."""
        return self._reaches(self.floor)

    @property
    def on_target(self) -> bool | None:
        """Return whether the target is reached, or None where there is nothing to compare."""
        return self._reaches(self.target)

    def _reaches(self, bound: float | None) -> bool | None:
        if self.value is None or bound is None:
            return None
        return self.value <= bound if self.at_most else self.value >= bound


class Medians(dict[str, dict[str, Figure]]):
    """The figures by system, then by the number's path, such as `settled_64.per_second`."""

    def median(self, system: str, path: str) -> float | None:
        figure = self.get(system, {}).get(path)
        return figure.median if figure else None

    def failed(self, path: str) -> float | None:
        """Return how many of our calls failed in the worst round."""
        figure = self.get("ours", {}).get(f"{path}.failed")
        return figure.most if figure else None

    def over(self, path: str, other: str, its_path: str = "") -> float | None:
        """Return the median over the rounds of our number divided by another system's."""
        return self.over_most(path, (other,), its_path)

    def over_most(self, path: str, others: Iterable[str], its_path: str = "") -> float | None:
        """Return the median over the rounds of our number divided by the most of the others'."""
        rounds = self._rounds(path, others, its_path or path)
        return _median_of(ours / max(theirs) for ours, theirs in rounds if max(theirs))

    def above(self, path: str, others: Iterable[str]) -> float | None:
        """Return the median over the rounds of our number less the least of the others'."""
        return _median_of(ours - min(theirs) for ours, theirs in self._rounds(path, others, path))

    def _rounds(self, path: str, others: Iterable[str], its_path: str) -> list[tuple[float, tuple[float, ...]]]:
        """Return our number and those of the others that were measured, in each round."""
        ours = self.get("ours", {}).get(path)
        theirs = [self[other][its_path].rounds for other in others if its_path in self.get(other, {})]
        return list(zip(ours.rounds, zip(*theirs, strict=True), strict=True)) if ours and theirs else []


def medians(rounds: list[dict[str, Any]]) -> Medians:
    """Return the median of each number over the rounds, with the least and the most."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for figures in rounds:
        for system, numbers in figures.items():
            for path, value in _leaves(numbers):
                values[system][path].append(value)
    return Medians(
        (system, {path: Figure(rounds) for path, rounds in paths.items()}) for system, paths in values.items()
    )


def _leaves(numbers: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    leaves: list[tuple[str, float]] = []
    for name, value in numbers.items():
        leaves += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, float(value))]
    return leaves


def most_connections(figures: Medians, measured: str) -> int:
    """Return the largest number of connections with which something was measured; `measured` is a pattern."""
    found = (re.match(rf"{measured}_(\d+)\.", path) for paths in figures.values() for path in paths)
    return max((int(match[1]) for match in found if match), default=256)


def ratios(figures: Medians, growth: dict[str, Any]) -> list[Ratio]:
    """Return each ratio that must hold, with its floor and target."""
    return [
        *_completions(figures),
        *_orders(figures),
        *_settled(figures),
        *_notices(figures),
        *_overload(figures),
        *_growth(growth),
    ]


def _completions(figures: Medians) -> list[Ratio]:
    most, express = most_connections(figures, _STEPS), "express_cached"
    rate, wait = figures.over(f"complete_{most}.per_second", express), figures.over(f"complete_{most}.p99_ms", express)
    few = figures.over("complete_16.per_second", express)
    quiet = figures.above("complete_quiet.p50_ms", (express,))
    return [
        Ratio("1. completions/s relative to Express", rate, 2, 4),
        Ratio("1. completions' p99 relative to Express", wait, 1, at_most=True),
        Ratio("1. completions/s, 16 connections, relative to Express", few, 1, 2),
        Ratio("1. completions' p50 at 20/s, above Express", quiet, 6, 3, at_most=True, unit=" ms"),
    ]


def _orders(figures: Medians) -> list[Ratio]:
    most, express, plain = most_connections(figures, _STEPS), "express_cached", "plain"
    register, read = figures.over(f"register_{most}.per_second", plain), figures.over(f"read_{most}.per_second", plain)
    wait, lives = figures.over(f"read_{most}.p99_ms", plain), f"life_{most}.per_second"
    return [
        Ratio("2. registrations/s relative to plain handlers", register, 1.5, 2.5),
        Ratio("2. registrations/s, one connection", figures.over("register_1.per_second", plain), 0.7),
        Ratio("3. reads/s relative to plain handlers", read, 1.5, 2),
        Ratio("3. reads' p99 relative to plain handlers", wait, 1, at_most=True),
        Ratio("3. reads/s, one connection", figures.over("read_1.per_second", plain), 0.8),
        Ratio("4. whole lives/s relative to Express", figures.over(lives, express), 2, 4),
        Ratio("4. whole lives/s relative to plain handlers", figures.over(lives, plain), 1.2, 2),
    ]


def _settled(figures: Medians) -> list[Ratio]:
    path, one = f"settled_{most_connections(figures, 'settled')}.per_second", "settled_32.per_second"
    best = figures.over_most(path, _OTHERS)
    lean = figures.over(path, "express_lean")
    transaction, statement = (
        figures.over(path, "pgbench_transaction", one),
        figures.over(path, "pgbench_statement", one),
    )
    return [
        Ratio("5. settled/s relative to tuned arq", figures.over(path, "arq_tuned"), 6, 8),
        Ratio("5. settled/s relative to the guide's Express handler", figures.over(path, "express_cached"), 3.5, 5),
        Ratio("5. settled/s relative to the best other alternative", best, 3.5, 5),
        Ratio("5. settled/s relative to an Express handler leaner than the guide's", lean, None),
        Ratio("5. settled/s relative to pgbench's plain transaction", transaction, 0.7, 1),
        Ratio("5. settled/s relative to pgbench's one statement", statement, 0.35, 0.5),
    ]


def _notices(figures: Medians) -> list[Ratio]:
    most = most_connections(figures, "settled")
    accepted = figures.over(f"accepted_{most}.per_second", "bare")
    commit = figures.above("notice_to_commit_quiet.p50_ms", _PEERS)
    idle = figures.median("ours", "idle_worker_cpu_percent")
    pair, look = (figures.median("ours", f"{path}.looks_per_payment") for path in ("pairs", f"settled_{most}"))
    return [
        Ratio("5. accepted/s relative to bare aiohttp", accepted, 0.6),
        Ratio("5. notice to commit p50 at 20/s, above the best other queue", commit, 2, 1, at_most=True, unit=" ms"),
        Ratio("5. an idle worker's share of a core", idle, 2, at_most=True, unit=" %"),
        Ratio("5. looks a payment, webhook and call", pair, 1.05, at_most=True, unit=""),
        Ratio("5. looks a payment at saturation", look, 0.05, at_most=True, unit=""),
    ]


def _overload(figures: Medians) -> list[Ratio]:
    def ours(path: str) -> float | None:
        return figures.median("ours", f"overload.{path}")

    refused, unsure, unsaid = (
        figures.failed(f"overload.{call}") for call in ("webhook_flooded", "confirm", "complete")
    )
    kept = figures.over("overload.webhook_flooded.per_second", "ours", "overload.webhook_alone.per_second")
    return [
        Ratio("6. accepted/s under a flood of reads, relative to without", kept, 0.5),
        Ratio("6. webhooks refused under the flood", refused, 0, at_most=True, unit=""),
        Ratio("6. confirmations' p99 at 100/s under the flood", ours("confirm.p99_ms"), 500, at_most=True, unit=" ms"),
        Ratio("6. confirmations unsure or refused under the flood", unsure, 0, at_most=True, unit=""),
        Ratio("6. completions' p99 at 100/s under the flood", ours("complete.p99_ms"), 1000, at_most=True, unit=" ms"),
        Ratio("6. completions without a verified answer under the flood", unsaid, 0, at_most=True, unit=""),
    ]


def _growth(growth: dict[str, Any]) -> list[Ratio]:
    return [
        Ratio("7. settled/s with 10⁶ orders relative to 10⁴", _grown(growth, 10**6), 0.9),
        Ratio("7. settled/s with 10⁷ orders relative to 10⁴", _grown(growth.get("large", {}), 10**7), 0.8),
    ]


def _grown(growth: dict[str, Any], orders: int) -> float | None:
    turns = {figures["orders"]: figures.get("turns", ()) for figures in growth.get("orders", [])}
    return _median_of(map(truediv, turns.get(orders, ()), turns.get(10**4, ())))


def _median_of(values: Iterable[float]) -> float | None:
    """Return the median, or None without any value."""
    return statistics.median(found) if (found := list(values)) else None
