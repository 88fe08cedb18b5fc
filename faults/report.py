"""Summarise the runs, and write the generated parts of docs/faults.md."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_DOCUMENT = Path("docs/faults.md")
_BEGIN, _END = "<!-- generated: {} -->", "<!-- end: {} -->"


def summary(episodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the figures of a run as lines."""
    troubles = _added(episodes, "troubles")
    answers, refunds = _added(episodes, "answers"), _added(episodes, "refunds")
    recoveries = [recovery for episode in episodes for recovery in episode.get("recoveries", ())]
    delays = sorted(episode["orders_right_seconds"] for episode in episodes)
    broken = [episode["seed"] for episode in episodes if episode["broken"]]
    return [
        f"{len(episodes)} episodes (seeds {_seeds(episodes)}), the longest {max(o['seconds'] for o in episodes):.1f} s",
        f"{_sum(episodes, 'orders')} orders, {_sum(episodes, 'payments')} payments,"
        f" {_sum(episodes, 'versions')} versions",
        f"{_sum(episodes, 'acknowledged')} notices acknowledged, {_sum(episodes, 'notices')} recorded,"
        f" {_sum(episodes, 'lost_with_redis')} destroyed with Redis while Postgres was away",
        f"answers: {_listed(answers)}",
        f"refunds by state: {_listed(refunds)}",
        _listed(troubles),
        f"all orders right after the recovery: p50 {_at(delays, 0.5):.1f} s, p95 {_at(delays, 0.95):.1f} s,"
        f" max {delays[-1]:.1f} s",
        *_recoveries(recoveries),
        f"broken promises: {sum(len(one['broken']) for one in episodes)}{f', seeds {broken}' if broken else ''}",
    ]


def _recoveries(recoveries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each kind of failover: how long its database served no shop."""
    lines = []
    for kind in sorted({recovery["kind"] for recovery in recoveries}):
        seconds = sorted(recovery["seconds"] for recovery in recoveries if recovery["kind"] == kind)
        lines.append(
            f"{kind}: {len(seconds)}; it served again after p50 {_at(seconds, 0.5):.2f} s,"
            f" p95 {_at(seconds, 0.95):.2f} s, max {seconds[-1]:.2f} s"
        )
    return lines


def write_report(**parts: Any) -> None:
    """Replace the given generated parts of the page, and keep the rest."""
    text = _DOCUMENT.read_text("utf-8")
    for name, content in parts.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        before, _, rest = text.partition(begin)
        text = before + begin + "\n\n" + "\n".join(content) + "\n\n" + end + rest.partition(end)[2]
    _DOCUMENT.write_text(text, "utf-8")


def _sum(episodes: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(one[name] for one in episodes)


def _added(episodes: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    """Add the episodes' counts. Results of earlier runs may lack them."""
    added: Counter[str] = Counter()
    for episode in episodes:
        added.update(episode.get(name, {}))
    return added


def _listed(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{name}: {count}" for name, count in sorted(counts.items()))


def _at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _seeds(episodes: Sequence[Mapping[str, Any]]) -> str:
    seeds = sorted(one["seed"] for one in episodes)
    return f"{seeds[0]} to {seeds[-1]}"
