"""Report a run: lines and a summary on the screen, and docs/performance.{json,md,svg}."""

import json
import os
import platform
import timeit
from importlib.metadata import version
from typing import Any

from bench import life_report
from bench.page import PAGE
from bench.paths import DOCS
from bench.plot import draw
from bench.ratios import Figure, Medians, Ratio, medians, most_connections, ratios
from bench.systems import SYSTEMS

TITLES = {name: system.title for name, system in SYSTEMS.items()} | {
    "bare": "bare aiohttp",
    "pgbench_transaction": "pgbench, a transaction",
    "pgbench_statement": "pgbench, one statement",
    "redis_enqueue": "Redis, pipelined enqueue",
    "standin": "the PortOne stand-in",
}
# The heading, the number's path ({n} stands for the connections), and the digits after the point.
_COLUMNS = (
    ("settled/s, 64", "settled_64.per_second", 0),
    ("settled/s, 256", "settled_256.per_second", 0),
    ("accepted/s, 64", "accepted_64.per_second", 0),
    ("accepted/s, 256", "accepted_256.per_second", 0),
    ("accept p50, 64", "accepted_64.p50_ms", 1),
    ("accept p99, 64", "accepted_64.p99_ms", 1),
    ("notice→commit p50, 20/s", "notice_to_commit_quiet.p50_ms", 1),
    ("p99", "notice_to_commit_quiet.p99_ms", 1),
    ("p50, half load", "notice_to_commit_half.p50_ms", 1),
    ("p99, half load", "notice_to_commit_half.p99_ms", 1),
)
_COSTS = (
    ("looks", "settled_{n}.looks_per_payment", 3),
    ("Redis commands", "redis_commands_per_payment", 1),
    ("WAL bytes", "wal_bytes_per_payment", 0),
    ("WAL fsyncs", "wal_fsyncs_per_payment", 3),
    ("CPU µs: receiver", "cpu_us_per_payment.receiver", 0),
    ("worker", "cpu_us_per_payment.worker", 0),
    ("Postgres", "cpu_us_per_payment.postgres", 0),
    ("Redis", "cpu_us_per_payment.redis", 0),
    ("peak MB: receiver", "peak_bytes.receiver", -6),
    ("worker ", "peak_bytes.worker", -6),
)


# Twice as fast on a Python that is built with the compiler's profile, as releases are, as on one that is not.
_PLAIN_PYTHON = "sum(len(str(n)) for n in range(10**5))"


def machine() -> dict[str, Any]:
    """Return the facts on which the numbers depend, without any that identify the machine."""
    plain_seconds = min(timeit.repeat(_PLAIN_PYTHON, number=1, repeat=7))
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_version()} (10⁵ turns of a plain loop in {1000 * plain_seconds:.0f} ms)",
        **{name: version(name) for name in ("aiohttp", "arq", "asyncpg", "redis", "uvloop")},
    }


def line(name: str, figures: dict[str, Any]) -> str:
    """Return the figures of a system in one round as a line."""
    parts = [
        f"{path.partition('_')[0]} {rates['per_second']:,.0f}/s ({path.rpartition('_')[2]})"
        for path, rates in figures.items()
        if isinstance(rates, dict) and "per_second" in rates
    ]
    overload = figures.get("overload", {})
    parts += [f"{kind.replace('_', ' ')} {rates['per_second']:,.0f}/s" for kind, rates in overload.items()]
    parts += [f"{key.replace('_', ' ')} {value:,.0f}" for key, value in figures.items() if key.endswith("_per_second")]
    if quiet := figures.get("notice_to_commit_quiet"):
        parts.append(f"commit p50 {quiet['p50_ms']:.1f} ms")
    return f"{TITLES[name]}: {', '.join(parts)}"


def summary(results: dict[str, Any]) -> str:
    """Return the ratios that must hold, as text for the screen."""
    figures = medians(results["rounds"])
    lines = [f"\nMedians of {len(results['rounds'])} round(s):"]
    for ratio in ratios(figures, results["growth"]):
        if ratio.value is not None:
            floor, target, holds = _bounds(ratio)
            lines.append(f"  {ratio.sentence}: {_value(ratio)} (floor {floor}, target {target}: {holds})")
    return "\n".join(lines)


def publish(results: dict[str, Any]) -> None:
    """Write the numbers, the page and the plot into docs/."""
    figures = medians(results["rounds"])
    (DOCS / "performance.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (DOCS / "performance.svg").write_text(draw(figures, results["growth"], TITLES), "utf-8")
    (DOCS / "performance.md").write_text(_page(results, figures), "utf-8")


def _page(results: dict[str, Any], figures: Medians) -> str:
    connections, machine_ = most_connections(figures, "settled"), results["machine"]
    costs = tuple((title, path.format(n=connections), digits) for title, path, digits in _COSTS)
    facts = ", ".join(f"{name} {value}" for name, value in machine_.items())
    return PAGE.format(
        when=results["when"],
        rounds=len(results["rounds"]),
        machine=facts,
        ratios="\n".join(_ratio_row(ratio) for ratio in ratios(figures, results["growth"])),
        speed=_table(figures, _COLUMNS),
        costs=_table(figures, costs, only=tuple(SYSTEMS)),
        connections=connections,
        limits=_limits(figures),
        growth=_growth(results["growth"]) or "Not measured in this run.",
        life=life_report.speed(figures, TITLES),
        waits=life_report.latency(figures, TITLES),
        overload=life_report.overload(figures),
    )


def _table(figures: Medians, columns: tuple[tuple[str, str, int], ...], only: tuple[str, ...] = ()) -> str:
    """Return a Markdown table of medians, with the spread beside each rate."""
    columns = tuple(column for column in columns if any(column[1] in paths for paths in figures.values()))
    rows = ["| | " + " | ".join(title.strip() for title, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in TITLES:
        numbers = figures.get(name, {})
        if any(path in numbers for _, path, _ in columns) and (not only or name in only):
            cells = [_cell(numbers.get(path), digits) for _, path, digits in columns]
            rows.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return "–"
    scale = 10.0 ** min(digits, 0)
    text = f"{figure.median * scale:,.{max(digits, 0)}f}"
    if digits == 0 and figure.most > figure.least and figure.median >= 100:
        text += f" ({figure.least:,.0f}–{figure.most:,.0f})"
    return text


def _ratio_row(ratio: Ratio) -> str:
    return f"| {ratio.sentence} | {' | '.join((_value(ratio), *_bounds(ratio)))} |"


def _value(ratio: Ratio) -> str:
    if ratio.value is None:
        return "not measured"
    return (f"{ratio.value:,.0f}" if abs(ratio.value) >= 1000 else f"{ratio.value:.3g}") + ratio.unit


def _bounds(ratio: Ratio) -> tuple[str, str, str]:
    """Return the floor, the target, and what holds of them."""
    sign = "≤" if ratio.at_most else "≥"
    floor, target = (f"{sign} {bound:g}" if bound is not None else "–" for bound in (ratio.floor, ratio.target))
    if ratio.holds is None:
        return floor, target, "–"
    return floor, target, ("on target" if ratio.on_target else "holds") if ratio.holds else "does not hold"


def _limits(figures: Medians) -> str:
    lines = []
    for name in ("pgbench_transaction", "pgbench_statement", "redis_enqueue", "standin"):
        for path, figure in figures.get(name, {}).items():
            unit = path.rpartition(".")[2].replace("_", " ") if name == "standin" else "per second"
            lines.append(f"- {TITLES[name]}: {_cell(figure, 0)} {unit}")
    return "\n".join(lines)


def _growth(growth: dict[str, Any]) -> str:
    titles = {
        "orders": "orders in the table",
        "connections": "connections",
        "workers": "workers, backlog of 10⁵ notices",
    }
    tables = []
    for key, title in titles.items():
        if rows := growth.get(key):
            extra = "notices_per_job" if key == "connections" else ""
            head = f"| {title} | settled/s |" + (" notices a job |" if extra else "")
            body = [
                f"| {row[key]:,} | {row['per_second']:,.0f} |" + (f" {row[extra]:.1f} |" if extra else "")
                for row in rows
            ]
            tables.append("\n".join([head, "|---|---|" + ("---|" if extra else ""), *body]))
    if large := growth.get("large"):
        rates = ", ".join(f"{row['per_second']:,.0f}/s with {row['orders']:,}" for row in large["orders"])
        tables.append(
            f"A run of its own, on {large['when']}, compared larger tables (`python -m bench.growth`): {rates}."
        )
    return "\n\n".join(tables)
