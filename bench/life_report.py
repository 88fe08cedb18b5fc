"""Report an order's life as Markdown: the whole, its steps, and the mix under overload."""

from bench.ratios import Medians
from bench.systems import LIVES

_STEPS = {
    "life": "whole life",
    "register": "register",
    "confirm": "confirm",
    "complete": "completion, fresh",
    "read": "read",
}
_KINDS = {
    "webhook_alone": "webhooks on 64 connections, no flood",
    "webhook_flooded": "webhooks on 64 connections",
    "read_beside_webhooks": "the flood beside them",
    "confirm": "confirmations, 100 calls a second",
    "complete": "completions, 100 calls a second",
    "read_beside_calls": "the flood beside both",
}


def speed(figures: Medians, titles: dict[str, str]) -> str:
    """Return the table of each step at its limit: the rate, with p50 and p99."""
    rows = [
        (f"{title}, {connections}", [_limit(figures, name, f"{step}_{connections}") for name in LIVES])
        for step, title in _STEPS.items()
        for connections in _counts(figures, step)
    ]
    return _table(["step, connections", *(titles[name] for name in LIVES)], rows)


def latency(figures: Medians, titles: dict[str, str]) -> str:
    """Return the table of latencies at fixed rates: completions at 20/s, and each step at half of its limit."""
    paths = {"complete_quiet": "completion, fresh, at 20/s"}
    paths |= {f"{step}_half": f"{title}, half of its limit" for step, title in _STEPS.items() if step != "life"}
    rows = [(title, [_waits(figures, name, path) for name in LIVES]) for path, title in paths.items()]
    return _table(["step", *(titles[name] for name in LIVES)], rows)


def overload(figures: Medians) -> str:
    """Return the table of the flood: rates, latencies, and what was refused or unsure."""
    rows = []
    for kind, title in _KINDS.items():
        path = f"overload.{kind}"
        failed = figures.median("ours", f"{path}.failed")
        if failed is not None:
            rows.append((title, [_limit(figures, "ours", path), f"{failed:,.0f}"]))
    return _table(["kind of call", "answered well", "refused or unsure"], rows)


def _counts(figures: Medians, step: str) -> list[int]:
    names = {path.partition(".")[0].removeprefix(f"{step}_") for paths in figures.values() for path in paths}
    return sorted(int(name) for name in names if name.isdigit())


def _limit(figures: Medians, system: str, path: str) -> str:
    rate = figures.median(system, f"{path}.per_second")
    return "–" if rate is None else f"{rate:,.0f}/s ({_waits(figures, system, path)})"


def _waits(figures: Medians, system: str, path: str) -> str:
    p50, p99 = (figures.median(system, f"{path}.p{q}_ms") for q in (50, 99))
    return "–" if p50 is None or p99 is None else f"{p50:,.1f} / {p99:,.1f} ms"


def _table(heads: list[str], rows: list[tuple[str, list[str]]]) -> str:
    if not any(cell != "–" for _, cells in rows for cell in cells):
        return "Not measured in this run."
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join([title, *cells])} |" for title, cells in rows)])
