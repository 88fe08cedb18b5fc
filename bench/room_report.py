"""Report what a number of orders costs: each figure with few and with many, and their ratio."""

import time
from dataclasses import dataclass

from bench.paths import DOCS
from bench.report import machine

PAGE = DOCS / "growing.md"

Figures = dict[str, float]

# Each figure's row, and its digits after the point.
ROWS = {
    "settled_new": ("payments settled a second, of the newest orders", 0),
    "wal_new": ("WAL of such a payment, bytes", 0),
    "settled_spread": ("payments settled a second, of orders anywhere in the table", 0),
    "wal_spread": ("WAL of such a payment, bytes", 0),
    "reads": ("orders read a second, anywhere in the table", 0),
    "read_p99_ms": ("such a read, p99, ms", 1),
    "feed": ("events a second to a follower that begins with the oldest", 0),
    "feed_page_p50_ms": ("the feed's newest 500 events, p50, ms", 1),
    "feed_page_p95_ms": ("the same, p95, ms", 1),
    "today_p50_ms": ("the console's first page, p50, ms", 1),
    "today_p95_ms": ("the same, p95, ms", 1),
    "sweep_idle_p50_ms": ("a sweep with nothing due, p50, ms", 1),
    "sweep_due_ms": ("a sweep with 1,000 due notices, p50, ms", 1),
    "ledger": ("payments a second that the ledger scan compares", 0),
    "calm_registrations_ms": ("longest registration without a migration, ms", 0),
    "longest_registrations_ms": ("longest registration beside an online migration, ms", 0),
    "calm_webhooks_ms": ("longest webhook without a migration, ms", 0),
    "longest_webhooks_ms": ("longest webhook beside an online migration, ms", 0),
    "gigabytes": ("all tables and indexes, GB", 2),
    "bytes_an_order": ("bytes an order, so MB per million orders", 0),
}


@dataclass(frozen=True)
class Measured:
    """The figures with few and with many orders, and how many payments the ledger scan compared."""

    sizes: tuple[int, ...]
    connections: int
    ledger: int
    few: Figures
    many: Figures


def table(measured: Measured, minutes: float) -> str:
    """Return the figures as the page has them."""
    few, many = measured.sizes
    rows = [
        f"| {title} | {measured.few[name]:,.{digits}f} | {measured.many[name]:,.{digits}f} |"
        f" {measured.many[name] / measured.few[name]:.2f} |"
        for name, (title, digits) in ROWS.items()
    ]
    return _TABLE.format(
        when=time.strftime("%Y-%m-%d"),
        minutes=minutes,
        fill_minutes=measured.many["fill_seconds"] / 60,
        machine=", ".join(f"{name} {value}" for name, value in machine().items()),
        connections=measured.connections,
        ledger=measured.ledger,
        few=few,
        many=many,
        rows="\n".join(rows),
    )


_TABLE = """Measured on {when} in {minutes:.0f} minutes, {fill_minutes:.0f} of which filled the larger tables.
Payments and reads came on {connections} connections, and the ledger scan compared {ledger:,} payments.
Everything ran on one machine: {machine}.

| | {few:,} orders | {many:,} orders | ratio |
| --- | --- | --- | --- |
{rows}
"""
