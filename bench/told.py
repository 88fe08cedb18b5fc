"""Measure outgoing webhooks: `python -m bench.told`.

Many changes wait; one worker tells one quick endpoint of them, each signed and each logged. The endpoint, in a process
of its own, answers at once. Prints deliveries a second, for orders with one change and for orders with several.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from service.db import endpoints
from service.db.migrate import migrate
from service.domain.signing import secret_of
from service.logs import configure_logs
from service.settings import Settings
from tests.conftest import Stores
from tests.ports import own_port
from workers.deliveries import delivering
from workers.metrics import WorkerMetrics

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_INSERT = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    SELECT $3 || n % ($1 / $2), 1 + n / ($1 / $2), 'failed', 1000, 'KRW', 0, 0, '[]', 'amendment'
    FROM generate_series(0, $1 - 1) AS n ORDER BY n
"""


class QuickEndpoint(asyncio.Protocol):
    """Answers each request as soon as its body has come."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if end and len(body) >= length:
            self._received = body[length:]
            self._transport.write(_ANSWER)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(QuickEndpoint, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def work() -> None:
    configure_logs(logging.WARNING)
    async with delivering(Settings.load(endpoints_in_private_networks=True), WorkerMetrics()):
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def part(*words: str, **variables: str) -> AsyncIterator[None]:
    """Run a part of the benchmark in a process of its own."""
    command = (sys.executable, "-m", "bench.told", *words)
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **variables}, stdout=sys.stderr)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def measure(stores: Stores, count: int, versions: int) -> float:
    """Return deliveries a second: `count` changes, `versions` of each order."""
    url, name, port = stores.postgres.url(), f"quick-{versions}", own_port()
    db = await asyncpg.connect(url)
    try:
        await db.execute("UPDATE endpoints SET disabled_at = now(), disabled_why = 'measured'")
        await endpoints.add(db, name, f"http://127.0.0.1:{port}/", (), secret_of(os.urandom(32)), oldest=False)
        await db.execute(_INSERT, count, versions, f"order-{versions}-")
        await db.execute("ANALYZE")
        async with part("--endpoint", str(port)):
            await _listens(port)
            async with part(DATABASE_URL=url, REDIS_URL=stores.redis.url()):
                began, began_at = await _reached(db, name, 1)
                ended, ended_at = await _reached(db, name, count)
        return (ended - began) / (ended_at - began_at)
    finally:
        await db.close()


async def _listens(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)


async def _reached(db: asyncpg.Connection, name: str, count: int) -> tuple[int, float]:
    while True:
        [endpoint] = await endpoints.read(db, [name])
        if endpoint.delivered >= count:
            return endpoint.delivered, time.monotonic()
        await asyncio.sleep(0.02)


async def run(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="portone-orders-told-") as folder:
        Path(folder).chmod(0o711)  # noqa: ASYNC240 - before anything runs
        stores = await Stores.start(Path(folder))
        try:
            await migrate(stores.postgres.url())
            for versions in (1, 5):
                rate = await measure(stores, count, versions)
                sys.stdout.write(f"{versions} changes of each order: {rate:,.0f} deliveries a second\n")
        finally:
            await stores.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.told", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--endpoint", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.endpoint:
        asyncio.run(serve(options.endpoint))
    elif "DATABASE_URL" in os.environ:
        asyncio.run(work())
    else:
        asyncio.run(run(options.count))


if __name__ == "__main__":
    main()
