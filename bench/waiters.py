"""Measure reads that wait for a change: `python -m bench.waiters`.

Thousands of readers wait on one receiver, each for an order of its own, and read again once they are answered. A writer
changes orders at a steady rate and announces each change, as a worker does. From Postgres' time of the commit until the
reader has the answer is what counts.
"""

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil

from bench import orders
from bench.databases import Databases, running_databases
from bench.load import quantiles
from bench.systems import SERVICE_KEY, SYSTEMS, Launcher
from service.db.pool import open_pool
from service.redis.queue import Queue, connect
from service.usecases.announcing import announce

# A receiver lets one client have a quarter of its connections: these are the readers' machines.
_CLIENTS = tuple(f"127.0.0.{n}" for n in range(1, 9))
_CONNECTED_AT_ONCE = 100
_SETTLES_SECONDS = 3.0
_HEAD = re.compile(rb'HTTP/1.1 (\d+) .*?\r\nETag: "(\d+)"', re.DOTALL)
# A change as the service writes one, in a statement.
_AMEND = """
    WITH changed AS (
        UPDATE orders SET name = $2, version = version + 1, updated_at = now() WHERE merchant_uid = $1 RETURNING *
    )
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems, 'amendment'
    FROM changed
"""
_REQUEST = (
    "GET /orders/{} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n"
    'Prefer: wait=60\r\nIf-None-Match: "{}"\r\n\r\n'
)


class Reader(asyncio.Protocol):
    """A reader on its connection. `answered_at` has the time of each version's answer."""

    def __init__(self, merchant_uid: str, answered_at: dict[tuple[str, int], float]) -> None:
        self.merchant_uid, self.answered_at = merchant_uid, answered_at
        self.wrong = b""
        self._transport: asyncio.Transport | None = None
        self._version = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        head = _HEAD.match(data)
        if head is None or head[1] not in (b"200", b"304"):
            self.wrong = data[:300]
            return
        self._version = int(head[2])
        self.answered_at.setdefault((self.merchant_uid, self._version), time.time())
        self._wait()

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def _wait(self) -> None:
        assert self._transport is not None
        self._transport.write(_REQUEST.format(self.merchant_uid, SERVICE_KEY, self._version).encode())


@dataclass
class Figures:
    """The figures of a run: bytes of memory for each waiter, and the seconds from commit to answer."""

    waiters: int
    bytes_each: float
    changes: int
    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0

    def line(self) -> str:
        quantile = quantiles(self.seconds or [float("nan")])
        return (
            f"{self.waiters} waiting readers on one receiver: {self.bytes_each / 1000:.1f} kB each;"
            f" {self.changes} changes, from commit to answer p50 {quantile['p50_ms']:.1f} ms, p99"
            f" {quantile['p99_ms']:.1f} ms, {self.unanswered} unanswered"
        )


async def measure(databases: Databases, folder: Path, waiters: int, rate: float, seconds: float) -> Figures:
    """Let that many readers wait, change orders at this rate, and return the figures."""
    await databases.fresh(waiters)
    names = [f"order_{number}" for number in range(orders.FIRST, orders.FIRST + waiters)]
    answered_at: dict[tuple[str, int], float] = {}
    async with Launcher(databases, folder).running(SYSTEMS["ours"], workers=0) as running:
        process = psutil.Process(running.receiver.pid)
        warm = await _connected(running.port, names[:50], {})
        await _settle(warm)
        before = process.memory_info().rss
        readers = await _connected(running.port, names, answered_at)
        await asyncio.sleep(_SETTLES_SECONDS)
        figures = Figures(waiters, (process.memory_info().rss - before) / waiters, round(rate * seconds))
        await _change(databases, names, rate, figures.changes)
        await asyncio.sleep(_SETTLES_SECONDS)
        await _settle(readers)
    async with databases.session() as session:
        committed = await session.fetch(
            "SELECT merchant_uid, version, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at"
            " FROM order_events WHERE version > 1"
        )
    answers = [(answered_at.get((row["merchant_uid"], row["version"])), row["at"]) for row in committed]
    figures.seconds = [answered - at for answered, at in answers if answered is not None]
    figures.unanswered = len(answers) - len(figures.seconds)
    return figures


async def _connected(port: int, names: Sequence[str], answered_at: dict[tuple[str, int], float]) -> list[Reader]:
    loop, readers = asyncio.get_running_loop(), []
    for start in range(0, len(names), _CONNECTED_AT_ONCE):
        batch = names[start : start + _CONNECTED_AT_ONCE]
        client = _CLIENTS[start // _CONNECTED_AT_ONCE % len(_CLIENTS)]
        made = await asyncio.gather(*(_connect(loop, port, client, Reader(name, answered_at)) for name in batch))
        readers += made
    return readers


async def _connect(loop: asyncio.AbstractEventLoop, port: int, client: str, reader: Reader) -> Reader:
    await loop.create_connection(lambda: reader, "127.0.0.1", port, local_addr=(client, 0))
    return reader


async def _settle(readers: Sequence[Reader]) -> None:
    """Check that no answer was wrong, and end the readers."""
    wrong = next((reader.wrong for reader in readers if reader.wrong), b"")
    assert not wrong, wrong
    for reader in readers:
        reader.close()
    await asyncio.sleep(0.2)


async def _change(databases: Databases, names: Sequence[str], rate: float, count: int) -> None:
    """Change orders at a steady rate, each once its last change was answered: names are drawn without repetition."""
    pool, queue = await open_pool(databases.database_url, 4), Queue(connect(databases.redis_url))
    rng, began, tasks = random.Random(1), time.perf_counter(), set[asyncio.Task[Any]]()
    drawn: list[str] = []
    try:
        for number in range(count):
            drawn = drawn or rng.sample(names, len(names))
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            task = asyncio.create_task(_amend(pool, queue, drawn.pop(), number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    finally:
        await queue.close()
        await pool.close()


async def _amend(pool: Any, queue: Queue, merchant_uid: str, number: int) -> None:
    await pool.execute(_AMEND, merchant_uid, f"change {number}")
    await announce(queue, [merchant_uid])


async def _run(waiters: int, rate: float, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="portone-bench-waiters-") as name:
        async with running_databases() as databases:
            return await measure(databases, Path(name), waiters, rate, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.waiters", description=__doc__)
    parser.add_argument("--waiters", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=200.0, help="changes a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    figures = asyncio.run(_run(options.waiters, options.rate, options.seconds))
    sys.stdout.write(f"{figures.line()}\n")
    return 1 if figures.unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
