"""Report a run: lines and a summary on the screen, and docs/performance.{json,md,svg}."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.plot import draw
from bench.ratios import Figure, Medians, Ratio, medians, most_connections, ratios
from bench.systems import SYSTEMS

DOCS = Path(__file__).parent.parent / "docs"
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


def machine() -> dict[str, Any]:
    """Return the facts on which the numbers depend, without any that identify the machine."""
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("aiohttp", "arq", "asyncpg", "redis", "uvloop")},
    }


def line(name: str, figures: dict[str, Any]) -> str:
    """Return the figures of a system in one round as a line."""
    parts = [
        f"{path.partition('_')[0]} {rates['per_second']:,.0f}/s ({path.rpartition('_')[2]})"
        for path, rates in figures.items()
        if isinstance(rates, dict) and "per_second" in rates
    ]
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
    return _PAGE.format(
        when=results["when"],
        rounds=len(results["rounds"]),
        machine=facts,
        ratios="\n".join(_ratio_row(ratio) for ratio in ratios(figures, results["growth"])),
        speed=_table(figures, _COLUMNS),
        costs=_table(figures, costs, only=tuple(SYSTEMS)),
        connections=connections,
        limits=_limits(figures),
        growth=_growth(results["growth"]) or "Not measured in this run.",
        calls=_calls(figures),
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
    return "not measured" if ratio.value is None else f"{ratio.value:.3g}{ratio.unit}"


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


def _calls(figures: Medians) -> str:
    ours = figures.get("ours", {})
    if "completions.p50_ms" not in ours:
        return ""
    p50, p99 = (_cell(ours[f"completions.{q}_ms"], 1) for q in ("p50", "p99"))
    return f"A completion call has its verified answer after {p50} ms (p50) and {p99} ms (p99), at 20 calls a second."


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
    return "\n\n".join(tables)


_PAGE = """# How fast it is

<!-- Written by `make bench`; change bench/report.py, not this file. -->

![Payments settled a second, notice to commit, and cost as the table grows](performance.svg)

Measured on {when}, {rounds} round(s), everything on one machine: {machine}. Only ratios within one run are meaningful,
because another machine, or a busier one, changes all numbers together. `make bench` measures again. The numbers of
this page are in [performance.json](performance.json).

## Ratios that must hold

| ratio | value | floor | target | |
|---|---|---|---|---|
{ratios}

## Speed

Medians (least–most). Times are in milliseconds.

{speed}

{calls}

## What a payment costs

The system is saturated, with {connections} connections.

{costs}

## Limits of the parts

{limits}

The load generator sends those single looks too, so it can send at least as many requests a second.

## How the rate changes with the work

Only portone-orders, with one receiver and, unless the table says otherwise, one worker. The rates by orders in the
table are medians of five.

{growth}

## How it was measured

All systems do the same work: a webhook arrives over HTTP → (queue) → the payment is fetched from a stand-in for
PortOne → it is compared with the order → the order's new state and its event are committed. Postgres runs with fsync,
Redis with an append-only file and `appendfsync always`. Both are real and local. There is one receiver process, one
worker process and one load generator. The order of the systems rotates from round to round.

- **portone-orders** does more for each notice than the others. It records the notice in Postgres *and* queues it before
  its 200, claims it, draws tickets, stores the payment as evidence, locks, reads, settles, and marks the notice. All of
  this is on, with its checks, logs and rate limits. Only the numbers of the limits are raised.
- **The alternatives** ([bench/alternatives](../bench/alternatives)) change the order in one statement that compares and
  writes. They keep connections alive, cache one token (except "token per request") and use uvloop (except "as
  documented"). Before their 200 they record only the job in Redis; Express answers after the commit. Its handler asks
  PortOne through axios, as the guide's does. The leaner handler does not
  ([why both](decisions/0017-benchmark-the-handler-of-the-guide.md)).
- **settled/s**: notices are sent as fast as they are accepted. The rate is the payments divided by the time from the
  first request to the last commit, and includes the looks at the stand-in.
- **accepted/s** is measured in a closed loop without a worker.
- **notice→commit** is measured in an open loop: from the moment when a notice is sent to the commit time of its
  transaction, as kept by Postgres (`track_commit_timestamp`). Postgres takes that time just before it flushes the WAL,
  so no system's number includes the flush. Half load is half of the rate that the system settles with 64 connections.
- **looks** are the requests to the stand-in divided by the payments. **Redis commands** include those inside scripts
  and transactions. **WAL fsyncs** are counted by Postgres; Redis has no such counter.
- **CPU** is that of the process and its children. **Peak memory** is the sum of their peaks.
- **pgbench** makes the same change with 32 clients and prepared statements. Each client walks through its own orders.
"""
