"""Write docs/hostile.md from the results of a run."""

import time
from collections.abc import Sequence
from pathlib import Path

from faults.hostile.verdict import Part, Result, at

_PAGE_PATH = Path("docs/hostile.md")

_PAGE = """# Under attack

<!-- Written by `make hostile`; change faults/hostile, not this file. -->

Strangers attack a receiver and a worker with their default limits, on one machine with everything else ({when}, seed
{seed}, {seconds:.0f} s an attack). Beside each attack PortOne announces {payments} payments a second of genuine orders,
and asks for {confirmations} confirmations a second. Who can cause which work, and what bounds it, is in
[design.md](design.md) §2.13.

The run fails unless, beside each attack:

- a genuine order becomes paid within 2 s, within 15 s where PortOne or Postgres was away, and within 1 s afterwards;
- each of PortOne's webhooks and confirmations is answered 200, the confirmations within 500 ms (p99);
- the promise raises its alarm when, and only when, something starves;
- memory, descriptors, tables and what is spilled stay bounded.

`paid` is the time in seconds from PortOne's webhook to the commit: the median and the longest during the attack, and
the longest after it. `confirm` is p99 in ms. `strangers` says how often each status was answered.

{tables}
"""
_HEAD = "| attack | paid: p50 | max | after | confirm | MB: receiver | worker | notices added | strangers |"
_RULE = "|---|---|---|---|---|---|---|---|---|"


def write(parts: Sequence[Part], **facts: object) -> None:
    """Write the page."""
    tables = "\n\n".join(f"## {part.title}\n\n{table(part.results)}\n\n{part.mutants_sentence}" for part in parts)
    text = _PAGE.format(when=time.strftime("%Y-%m-%d"), tables=tables, **facts)
    _PAGE_PATH.write_text(text.rstrip() + "\n", "utf-8")


def table(results: Sequence[Result]) -> str:
    """Return the attacks' table, and a sentence for each bound that was passed."""
    lines = [_HEAD, _RULE, *map(row, results), ""]
    lines += [f"- `{result.attack.name}`: {result.attack.line}." for result in results]
    broken = [f"- **Passed**, `{result.attack.name}`: {text}." for result in results for text in result.broken]
    return "\n".join([*lines, *(["", *broken] if broken else [])])


def row(result: Result) -> str:
    """Return an attack's row."""
    figures = result.figures
    during = sorted(figures.during)
    cells = (
        f"`{result.attack.name}`",
        f"{at(during, 0.5):.2f}",
        f"{max(during, default=0):.2f}",
        f"{max(figures.after, default=0):.2f}",
        f"{at(figures.confirm_seconds, 0.99) * 1000:.0f}",
        *(f"{result.usage.get(f'{name} bytes', 0) / 1e6:.0f}" for name in ("receiver", "worker")),
        f"{result.rows:,}",
        ", ".join(f"{status}: {count:,}" for status, count in sorted(result.answers.items())),
    )
    return f"| {' | '.join(cells)} |"
