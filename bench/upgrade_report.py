"""Judge and report an upgrade under load: on the screen, in bench/results, and in docs/upgrade.md."""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.load import quantiles
from bench.paths import DOCS, RESULTS
from bench.payments import KINDS, Phase, Traffic

P99_MS_MAX = 1000.0
_FIGURES = "<!-- The figures of a run follow. -->"


@dataclass(frozen=True)
class Ending:
    """The stored rows once nothing moves: orders that are settled, those of them whose version is not the second, and
    all notices, with those that are open or parked."""

    settled: int = 0
    odd_versions: int = 0
    notices: int = 0
    open: int = 0
    parked: int = 0


@dataclass(frozen=True)
class Result:
    """An upgrade as callers, the database and the oracle saw it.

    `judgement` is the oracle's sentence, if a promise is broken.
    `migrations` are the files that the new version applied.
    """

    old: str
    new: str
    traffic: Traffic
    phases: list[Phase]
    sent: int
    ending: Ending
    judgement: str = ""
    migrations: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """Return a sentence for each bound that is broken."""
        wrong = []
        for phase in self.phases:
            refused = sum(tally.refused for tally in phase.calls.values())
            p99 = _waits(phase).get("p99_ms", 0.0)
            if refused:
                wrong.append(f"{refused:,} requests were refused while: {phase.name} ({_statuses(phase)})")
            if p99 > P99_MS_MAX:
                wrong.append(f"completions took {p99:,.0f} ms (p99) while: {phase.name}")
            if phase.stale:
                wrong.append(f"{phase.stale:,} orders were not paid when read after their completion: {phase.name}")
        ending = self.ending
        if ending.settled != self.sent:
            wrong.append(f"of {self.sent:,} payments {ending.settled:,} were settled")
        if ending.odd_versions:
            wrong.append(f"{ending.odd_versions:,} orders changed more than once")
        if ending.open or ending.parked:
            wrong.append(f"{ending.open:,} notices are open and {ending.parked:,} parked")
        return wrong + [self.judgement] * bool(self.judgement)


def summary(result: Result) -> str:
    """Return the figures as text for the screen."""
    return f"\n{figures(result)}"


def keep(result: Result) -> None:
    """Write the figures into bench/results, with quantiles in place of every latency."""
    content: dict[str, Any] = {
        **{name: getattr(result, name) for name in ("old", "new", "sent", "migrations", "broken")},
        "traffic": asdict(result.traffic),
        "ending": asdict(result.ending),
        "phases": [
            {
                "name": phase.name,
                "seconds": phase.seconds,
                "cores_busy": phase.cores_busy,
                "cores": phase.cores,
                "stale": phase.stale,
                "calls": _calls(phase),
            }
            for phase in result.phases
        ],
    }
    file = RESULTS / f"upgrade-{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(content, indent=1), "utf-8")


def publish(result: Result) -> None:
    """Write the figures into docs/upgrade.md, below the description."""
    page = DOCS / "upgrade.md"
    description = page.read_text("utf-8").partition(_FIGURES)[0]
    page.write_text(f"{description}{_FIGURES}\n\n{figures(result)}\n", "utf-8")


def figures(result: Result) -> str:
    """Return the figures as Markdown."""
    return (
        f"From {result.old} to {result.new}, {result.traffic.rate:,.0f} payments a second, one in"
        f" {result.traffic.one_in} with a buyer who comes back, on {time.strftime('%Y-%m-%d')}:\n\n"
        f"{_table(result)}\n\n{_totals(result)}\n\n{_verdict(result)}\n\nWhere the cores went:\n\n{_cores(result)}"
    )


def _table(result: Result) -> str:
    heads = (
        "| phase | seconds | cores busy | completions: p50 | p99 | longest | not yet verified | refused, of all calls |"
    )
    return "\n".join([heads, "|---" * 8 + "|", *(_row(phase) for phase in result.phases if _waits(phase))])


def _row(phase: Phase) -> str:
    waits, refused = _waits(phase), sum(tally.refused for tally in phase.calls.values())
    calls = sum(tally.statuses.total() for tally in phase.calls.values())
    cells = (
        phase.name,
        f"{phase.seconds:.1f}",
        f"{phase.cores_busy:.1f}",
        *(f"{waits[name]:,.1f} ms" for name in ("p50_ms", "p99_ms", "longest_ms")),
        f"{phase.calls['complete'].statuses[202]:,}",
        f"{refused:,} of {calls:,}",
    )
    return f"| {' | '.join(cells)} |"


def _cores(result: Result) -> str:
    """Return how many cores each part used in each phase. What is left of the busy ones other programs used."""
    phases = [phase for phase in result.phases if phase.cores]
    parts = list(phases[0].cores) if phases else []
    heads = f"| phase | {' | '.join(parts)} | others |"
    rows = []
    for phase in phases:
        others = max(0.0, phase.cores_busy - sum(phase.cores.values()))
        cells = (phase.name, *(f"{phase.cores[part]:.2f}" for part in parts), f"{others:.2f}")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([heads, "|---" * (len(parts) + 2) + "|", *rows])


def _totals(result: Result) -> str:
    accepted = {
        kind: sum(sum(phase.calls[kind].statuses.values()) - phase.calls[kind].refused for phase in result.phases)
        for kind in KINDS
    }
    schema = f"applied {', '.join(result.migrations)}" if result.migrations else "had nothing to apply"
    ending = result.ending
    return (
        f"{result.sent:,} payments: {accepted['webhook']:,} webhooks and {accepted['complete']:,} completions were"
        f" accepted, which left {ending.notices:,} notices; {ending.settled:,} orders were settled,"
        f" {ending.odd_versions:,} of them in more than one change. The new version's `migrate` {schema}."
    )


def _verdict(result: Result) -> str:
    return f"**Broken:** {'; '.join(result.broken)}." if result.broken else "Every bound held."


def _waits(phase: Phase) -> dict[str, float]:
    """Return the quantiles of a phase's completions, or nothing if it has none."""
    seconds = phase.calls["complete"].seconds
    return quantiles(seconds) | {"longest_ms": 1000 * max(seconds)} if seconds else {}


def _calls(phase: Phase) -> dict[str, Any]:
    return {
        kind: {"statuses": dict(tally.statuses)} | (quantiles(tally.seconds) if tally.seconds else {})
        for kind, tally in phase.calls.items()
    }


def _statuses(phase: Phase) -> str:
    statuses: Counter[int] = sum((tally.statuses for tally in phase.calls.values()), Counter())
    return ", ".join(f"{number:,} × {status}" for status, number in sorted(statuses.items()))
