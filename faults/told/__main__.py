"""Tell endpoints of many changes while everything fails: `python -m faults.told`.

Two endpoints, one in Python and one in Node, verify each webhook with a library that is not ours. They fail, throttle,
stall, redirect, answer garbage, break connections and answer late; their name resolves to a private address now and
then; they are killed, and so are the two workers that share them. In the end each endpoint must have accepted each
change, and each order's changes in their order. Prints a line for each endpoint; the exit code is 1 if one fell short.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import asyncpg

from faults.report import write_report
from faults.told.verdict import Verdict, judge_log
from faults.told.worker import HOST, OPEN, PRIVATE
from service.db import endpoints
from service.db.pool import Connection
from service.domain.signing import secret_of
from tests.conftest import Stores

_FOLDER = Path(__file__).parent
_WORKERS = 2
_WRITERS = 4
_VERSIONS = 5
_FAULTY_SHARE = 0.15
_TIMEOUT_SECONDS = "1"
# Of PortOne's three days of retries this harness makes some minutes.
_TIME_SCALE = "0.002"
_START_SECONDS = 20.0
_END_SECONDS = 120.0
_INSERT = """
    INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, problems,
                              cause)
    VALUES ($1, $2, CASE WHEN $2 = 1 THEN 'pending' ELSE 'failed' END, 1000, 'KRW', 0, 0, '[]', 'amendment')
"""


def _free_port() -> int:
    """Return a port on which nothing listens, from those that the system gives to connections."""
    with socket.socket() as probe:
        probe.bind((OPEN, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class ReceiverProcess:
    """An endpoint in a process of its own, which can be killed and comes back on the same port."""

    name: str
    command: Sequence[str]
    log: Path
    trap: str
    secret: str = field(default_factory=lambda: secret_of(os.urandom(32)))
    port: int = field(default_factory=_free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        words = (str(self.port), str(self.log), self.secret, self.trap, str(_FAULTY_SHARE))
        async with asyncio.timeout(_START_SECONDS):
            while not await self._is_listening():
                if self.process is None or self.process.returncode is not None:  # another had the port for a moment
                    self.process = await asyncio.create_subprocess_exec(*self.command, *words, cwd=_FOLDER.parents[1])
                await asyncio.sleep(0.05)

    async def _is_listening(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(OPEN, self.port)
            writer.close()
            return True
        return False

    async def kill(self) -> None:
        await _kill(self.process)


class Harness:
    """The databases, the endpoints and the workers."""

    def __init__(self, stores: Stores, receivers: Sequence[ReceiverProcess], random: Random) -> None:
        self.url = stores.postgres.url()
        self.receivers = receivers
        self.random = random
        self.kills = 0
        self._environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "REDIS_URL": stores.redis.url(),
            "TIME_SCALE": _TIME_SCALE,
            "ENDPOINT_TIMEOUT_SECONDS": _TIMEOUT_SECONDS,
        }
        self._workers: list[asyncio.subprocess.Process | None] = [None] * _WORKERS

    async def run(self, orders: int, kills: int) -> int:
        """Write the changes amid the faults, which go on until all is told. Return the number of changes."""
        for receiver in self.receivers:
            await receiver.start()
        await self._add_endpoints()
        for number in range(_WORKERS):
            await self._start_worker(number)
        killing = asyncio.create_task(self._kill_now_and_then(kills))
        await asyncio.gather(*(self._write(range(n, orders, _WRITERS)) for n in range(_WRITERS)))
        await killing
        await self._wait_for_the_end()
        return orders * _VERSIONS

    async def stop(self) -> None:
        for process in (*self._workers, *(receiver.process for receiver in self.receivers)):
            await _kill(process)

    async def _add_endpoints(self) -> None:
        async with self._connection() as db:
            for receiver in self.receivers:
                url = f"http://{HOST}:{receiver.port}/"
                await endpoints.add(db, receiver.name, url, (), receiver.secret, oldest=True)

    async def _write(self, orders: range) -> None:
        """Write each order's versions, interleaved with other orders' and other writers', some in long transactions."""
        async with self._connection() as db:
            for start in range(0, len(orders), 10):
                for version in range(1, _VERSIONS + 1):
                    async with db.transaction():
                        await db.executemany(_INSERT, [(f"order-{n}", version) for n in orders[start : start + 10]])
                        await asyncio.sleep(self.random.uniform(0, 0.02))

    async def _kill_now_and_then(self, kills: int) -> None:
        for _ in range(kills):
            await asyncio.sleep(self.random.uniform(0.2, 1.5))
            victim = self.random.randrange(_WORKERS + len(self.receivers))
            if victim < _WORKERS:
                await _kill(self._workers[victim])
                await self._start_worker(victim)
            else:
                receiver = self.receivers[victim - _WORKERS]
                await receiver.kill()
                await asyncio.sleep(self.random.uniform(0, 0.5))
                await receiver.start()
            self.kills += 1

    async def _start_worker(self, number: int) -> None:
        self._workers[number] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "faults.told.worker", env=self._environment, cwd=_FOLDER.parents[1]
        )

    async def _wait_for_the_end(self) -> None:
        """Wait until nothing is late. Raises TimeoutError."""
        async with asyncio.timeout(_END_SECONDS), self._connection() as db:
            while not await self._is_over(db):  # noqa: ASYNC110 - it is over in other processes
                await asyncio.sleep(0.2)

    async def failures(self) -> dict[str, int]:
        """Return how many attempts failed, by the kind of failure."""
        async with self._connection() as db:
            rows = await db.fetch(
                """
                SELECT coalesce(status::text, split_part(failure, ':', 1)) AS kind, count(*) AS count
                FROM delivery_attempts WHERE failure IS NOT NULL GROUP BY 1 ORDER BY 1
                """
            )
        return {row["kind"]: row["count"] for row in rows}

    async def _is_over(self, db: Connection) -> bool:
        last = await db.fetchval("SELECT max(id) FROM order_events")
        return all(endpoint.told_to == last and not endpoint.late for endpoint in await endpoints.read(db))

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()


async def _kill(process: asyncio.subprocess.Process | None) -> None:
    if process is not None and process.returncode is None:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def trap() -> AsyncIterator[tuple[str, list[str]]]:
    """Listen where nothing may be sent: at the address that counts as private, and where redirects lead."""
    caught: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(str(writer.get_extra_info("peername")))
        writer.close()

    host = PRIVATE if sys.platform == "linux" else OPEN  # elsewhere this machine has the one address alone
    server = await asyncio.start_server(take, host, 0)
    async with server:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}/", caught


def receivers_of(folder: Path, trap_url: str, *, node: bool) -> list[ReceiverProcess]:
    """Return the endpoints: one in Python, and one in Node if that is wanted."""
    python = (sys.executable, "-m", "faults.told.receiver")
    receivers = [ReceiverProcess("python", python, folder / "python.log", trap_url)]
    if node:
        command = ("node", str(_FOLDER / "receiver.mjs"))
        receivers.append(ReceiverProcess("node", command, folder / "node.log", trap_url))
    return receivers


async def run(orders: int, kills: int, seed: int, *, node: bool) -> tuple[list[Verdict], dict[str, int]]:
    """Run the whole; return a verdict for each endpoint, and how many attempts failed, by the kind of failure."""
    with tempfile.TemporaryDirectory(prefix="portone-orders-told-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # noqa: ASYNC240 - before anything runs
        stores = await Stores.start(folder)
        try:
            async with trap() as (trap_url, caught):
                receivers = receivers_of(folder, trap_url, node=node)
                harness = Harness(stores, receivers, Random(seed))  # noqa: S311 - a repeatable run, no secret
                try:
                    changes = await harness.run(orders, kills)
                    failures = await harness.failures()
                finally:
                    await harness.stop()
                logs = [(receiver.name, receiver.log) for receiver in receivers]
                return [judge_log(*log, changes, _VERSIONS, caught) for log in logs], failures
        finally:
            await stores.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.told", description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write the figures into docs/faults.md")
    parser.add_argument("--no-node", action="store_true", help="leave the endpoint in Node out")
    options = parser.parse_args()
    began = time.monotonic()
    verdicts, failures = asyncio.run(run(options.orders, options.kills, options.seed, node=not options.no_node))
    lines = [
        *map(str, verdicts),
        "attempts that failed: " + ", ".join(f"{count} × {kind}" for kind, count in failures.items()),
        f"kills {options.kills}, seed {options.seed}, {time.monotonic() - began:.0f} s",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.report:
        write_report(told=[f"- {line}" for line in lines])
    return 0 if all(verdict.is_kept for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
