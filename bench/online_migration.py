"""Change a large table beside a service under load, and measure for how long anybody waits.

`python -m bench.online_migration [ORDERS]` applies each kind of migration (service/db/online.py) to the table of
orders, while shops register orders and PortOne sends webhooks as fast as they are answered. The last step makes an
index plainly, as a migration must not, to show what that costs.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import load, orders
from bench.databases import Databases, running_databases
from bench.systems import SERVICE_KEY, SYSTEMS, WEBHOOKS, Launcher
from service.db import online

_CONNECTIONS = 4
_WINDOW_SECONDS = 2.0
_ALONE_SECONDS = 10.0
_REGISTERED = "/orders"
NOTHING = "nothing"

_STEPS = {
    "add a column": "ALTER TABLE orders ADD COLUMN note text;\nALTER TABLE orders ALTER COLUMN note SET DEFAULT '';",
    "fill it, in batches": """\
-- apply: in batches
WITH batch AS (
    SELECT merchant_uid FROM orders WHERE merchant_uid > $1 ORDER BY merchant_uid LIMIT 1000
), filled AS (
    UPDATE orders o SET note = '' FROM batch WHERE o.merchant_uid = batch.merchant_uid AND o.note IS NULL
)
SELECT max(merchant_uid) FROM batch;
""",
    "add a constraint": "ALTER TABLE orders ADD CONSTRAINT orders_note CHECK (note IS NOT NULL) NOT VALID;",
    "validate it": "-- apply: statement by statement\nALTER TABLE orders VALIDATE CONSTRAINT orders_note;",
    "make an index": """\
-- apply: statement by statement
DROP INDEX CONCURRENTLY IF EXISTS orders_expire;
CREATE INDEX CONCURRENTLY orders_expire ON orders (expires_at);
""",
    "make one plainly": "CREATE INDEX orders_created ON orders (created_at);",
}
# The steps of a migration whose column old orders go without. Their number decides for how long it would be filled, a
# thousand at a time, and not how long anybody waits.
UNFILLED = {
    "add a column": _STEPS["add a column"],
    "add a constraint": "ALTER TABLE orders ADD CONSTRAINT orders_note CHECK (char_length(note) < 1000) NOT VALID;",
    "validate it": _STEPS["validate it"],
    "make an index": _STEPS["make an index"],
}


@dataclass
class Calls:
    """One kind of call: its requests, the status of a good answer, and how long the calls of a step took."""

    name: str
    requests: Iterator[bytes]
    good: int
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    # Of the steps so far: the longest call of each, and all that were not answered well.
    longest: dict[str, float] = field(default_factory=dict)
    wrong: int = 0

    async def send(self, port: int, window_seconds: float, ended: asyncio.Event) -> None:
        """Send calls until the step has ended."""
        while not ended.is_set():
            result = await load.closed_loop(port, _CONNECTIONS, self.requests, window_seconds, self.good)
            self.seconds += result.latencies
            self.failed += result.failed

    def take(self, step: str) -> str:
        """Return the step's figures, and begin with the next."""
        ordered, failed = sorted(self.seconds), self.failed
        self.seconds, self.failed = [], 0
        p99, longest = ordered[round(0.99 * (len(ordered) - 1))], ordered[-1]
        self.longest[step], self.wrong = longest, self.wrong + failed
        return f"{len(ordered)} {self.name}, p99 {1000 * p99:.0f} ms, longest {1000 * longest:.0f} ms, {failed} failed"


def _calls(table: int) -> list[Calls]:
    new = itertools.count(orders.FIRST_NEW)
    key = f"Authorization: Bearer {SERVICE_KEY}\r\n"
    return [
        Calls("registrations", (load.post(_REGISTERED, orders.registration(number), key) for number in new), 201),
        Calls("webhooks", (load.post(WEBHOOKS, orders.webhook(number)) for number in orders.around(table)), 200),
    ]


async def _under_load(
    port: int, calls: list[Calls], window_seconds: float, work: Callable[[], Awaitable[None]]
) -> float:
    """Do the work while calls come; return the seconds that it took."""
    ended = asyncio.Event()
    sending = [asyncio.create_task(each.send(port, window_seconds, ended)) for each in calls]
    await asyncio.sleep(window_seconds / 2)
    began = time.perf_counter()
    try:
        await work()
    finally:
        seconds = time.perf_counter() - began
        ended.set()
        await asyncio.gather(*sending)
    return seconds


async def _apply(session: Any, text: str) -> None:
    async def nothing() -> None:
        pass

    await online.apply(session, text, nothing)


async def measure(
    databases: Databases,
    port: int,
    table: int,
    texts: Mapping[str, str],
    alone_seconds: float = _ALONE_SECONDS,
    window_seconds: float = _WINDOW_SECONDS,
) -> list[Calls]:
    """Apply each step under load, after a while without any, and say how long callers waited."""
    calls = _calls(table)
    async with databases.session() as session:
        await session.execute("SET statement_timeout = 0")
        steps: dict[str, Callable[[], Awaitable[None]]] = {NOTHING: partial(asyncio.sleep, alone_seconds)}
        steps |= {name: partial(_apply, session, text) for name, text in texts.items()}
        for name, work in steps.items():
            seconds = await _under_load(port, calls, window_seconds, work)
            sys.stdout.write(f"{name:<20} {seconds:7.1f} s: {'; '.join(each.take(name) for each in calls)}\n")
            sys.stdout.flush()
    return calls


async def _run(table: int) -> bool:
    """Return whether every call was answered well."""
    with tempfile.TemporaryDirectory(prefix="portone-bench-online-") as name:
        async with running_databases() as databases:
            await databases.fresh(table)
            launcher = Launcher(databases, Path(name))
            await launcher.start_standin()
            try:
                async with launcher.running(SYSTEMS["ours"], workers=1) as running:
                    calls = await measure(databases, running.port, table, _STEPS)
                    return not any(each.wrong for each in calls)
            finally:
                await launcher.standin.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.online_migration", description=__doc__)
    parser.add_argument("orders", nargs="?", type=int, default=10**7)
    return 0 if asyncio.run(_run(parser.parse_args().orders)) else 1


if __name__ == "__main__":
    sys.exit(main())
