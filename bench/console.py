"""Measure the console's pages, and what they take from intake: `python -m bench.console`.

One reader asks for each page again and again, among a million orders and two million notices. Then webhooks come as
fast as they are accepted, in turns without and with five operators who click once a second.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, CookieJar

from bench import load, orders
from bench.databases import Databases, running_databases
from bench.filling import Filling, fill
from bench.systems import SERVICE_KEY, SYSTEMS, WEBHOOKS, Launcher

_OURS = SYSTEMS["ours"]
_P95_MS = 150.0
_LOSS = 0.05
_OPERATORS = 5
_CLICK_SECONDS = 1.0
_CONNECTIONS = 16
# The first page is shared for this long, by all who read it.
FRESH_SECONDS = 2.05
_FILL_SECONDS = 1_800

# An endpoint was told of the newest changes, and people did something ten thousand times.
_FILL = (
    """
    INSERT INTO endpoints (name, url, secret, told_to)
    SELECT 'warehouse', 'https://warehouse.example/', 'whsec_', max(id) FROM order_events
    """,
    """
    INSERT INTO delivery_attempts (endpoint, event_id, merchant_uid, at, seconds, status)
    SELECT 'warehouse', id, merchant_uid, now(), 0.02, 204 FROM order_events ORDER BY id DESC LIMIT 100000
    """,
    """
    INSERT INTO operator_actions (who, why, action, subject)
    SELECT 'kim (pok_1a2b3c4d)', 'a benchmark', 'problems.resolve', 'imp_' || n FROM generate_series(1, 10000) AS n
    """,
)


def _pages(table: int, rng: random.Random) -> dict[str, str]:
    """Return each page's address, with what a person may have typed."""
    number = orders.FIRST + rng.randrange(table)
    amount = 1000 + number % 997 * 100
    return {
        "today": "",
        "orders": "/orders",
        "orders by state": "/orders?state=cancelled",
        "orders by amount": f"/orders?amount={amount}",
        "orders by problem": "/orders?problem=duplicate_payment",
        "orders by number": f"/orders?q=order_{str(number)[:7]}",
        "order by imp_uid": f"/orders?q={orders.imp_uid(number)}",
        "order": f"/order?number={orders.merchant_uid(number)}",
        "problems": "/problems",
        "foreign money": "/problems?foreign=1",
        "notices": "/notices",
        "open notices": "/notices?tab=open",
        "endpoints": "/endpoints",
        "endpoint": "/endpoint?name=warehouse",
        "actions": "/actions",
    }


@asynccontextmanager
async def signed_in(port: int) -> AsyncIterator[ClientSession]:
    url = f"http://127.0.0.1:{port}"
    async with ClientSession(f"{url}/", cookie_jar=CookieJar(unsafe=True)) as session:
        own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        async with session.post("/console/sign-in", data={"key": SERVICE_KEY}, headers=own) as answer:
            assert answer.status == 200, await answer.text()
        yield session


async def read_page(session: ClientSession, path: str) -> float:
    """Read a page, and return the seconds that it took."""
    began = time.perf_counter()
    async with session.get(f"/console{path}") as answer:
        page = await answer.text()
    assert answer.status == 200, f"{path}: {answer.status}"
    assert "Sign out" in page, path
    return time.perf_counter() - began


async def _pages_p95(port: int, table: int, reads: int) -> dict[str, float]:
    rng, seconds = random.Random(1), dict[str, list[float]]()
    async with signed_in(port) as session:
        for path in _pages(table, rng).values():  # the first reading of a connection plans its statements
            for _ in range(3):
                await read_page(session, path)
        for _ in range(reads):
            await asyncio.sleep(FRESH_SECONDS)  # so that the first page is read again, which several people share
            for name, path in _pages(table, rng).items():
                seconds.setdefault(name, []).append(await read_page(session, path))
    return {name: 1000 * statistics.quantiles(taken, n=20)[-1] for name, taken in seconds.items()}


async def _click(session: ClientSession, table: int, seed: int) -> None:
    """Open a page a second, until cancelled."""
    rng = random.Random(seed)
    await asyncio.sleep(rng.random())
    while True:
        await read_page(session, rng.choice(list(_pages(table, rng).values())))
        await asyncio.sleep(_CLICK_SECONDS)


def _webhooks(first: int) -> Iterator[bytes]:
    number = first
    while True:
        number += 1
        yield load.post(WEBHOOKS, orders.webhook(number))


async def _loss(databases: Databases, port: int, table: int, turns: int, seconds: float) -> float:
    """Return which share of intake's rate is lost while five operators click.

    Each turn measures both, every other turn the other way round, because a database slows down as it is written to.
    """
    ratios = []
    async with signed_in(port) as session:
        for turn in range(turns):
            rates = dict[bool, float]()
            for operators in (False, True) if turn % 2 == 0 else (True, False):
                async with _clicking(session, table, _OPERATORS if operators else 0):
                    rates[operators] = await _turn(databases, port, seconds)
            ratios.append(rates[True] / rates[False])
            line = f"turn {turn}: {rates[False]:.0f} webhooks a second alone, {rates[True]:.0f} beside operators"
            sys.stdout.write(f"{line}\n")
    return 1 - statistics.median(ratios)


@asynccontextmanager
async def _clicking(session: ClientSession, table: int, operators: int) -> AsyncIterator[None]:
    """Let operators click, and fail if a page failed."""
    clicking = [asyncio.create_task(_click(session, table, seed)) for seed in range(operators)]
    yield
    for operator in clicking:
        operator.cancel()
    ended = await asyncio.gather(*clicking, return_exceptions=True)
    failed = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
    assert not failed, failed[0]


async def _turn(databases: Databases, port: int, seconds: float) -> float:
    """Return how many webhooks were accepted a second, with no notice waiting at the beginning."""
    async with databases.session() as session:
        await session.execute("DELETE FROM notices WHERE due_at < now() + interval '1 minute'", timeout=_FILL_SECONDS)
        await session.execute("VACUUM notices", timeout=_FILL_SECONDS)
        await session.execute("CHECKPOINT", timeout=_FILL_SECONDS)
    await databases.client.flushall()
    result = await load.closed_loop(port, _CONNECTIONS, _webhooks(orders.FIRST), seconds)
    assert not result.failed, result.wrong
    return result.per_second


async def _fill(databases: Databases, table: int) -> None:
    await fill(databases, Filling(table, days=1, sources=("webhook", "completion")))
    async with databases.session() as session:
        for statement in _FILL:
            await session.execute(statement)
        await session.execute("VACUUM (ANALYZE) endpoints, delivery_attempts, operator_actions")


async def _run(table: int, reads: int, turns: int, seconds: float) -> bool:
    with tempfile.TemporaryDirectory(prefix="portone-bench-console-") as name:
        async with running_databases() as databases:
            await _fill(databases, table)
            async with Launcher(databases, Path(name)).running(_OURS, workers=0) as running:
                pages = await _pages_p95(running.port, table, reads)
                for page, p95_ms in pages.items():
                    sys.stdout.write(f"{page:<18} p95 {p95_ms:7.1f} ms\n")
                loss = await _loss(databases, running.port, table, turns, seconds)
    sys.stdout.write(f"Five operators take {100 * loss:.1f} % of intake's rate.\n")
    return max(pages.values()) <= _P95_MS and loss <= _LOSS


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.console", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--reads", type=int, default=60, help="readings of each page")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    options = parser.parse_args()
    return 0 if asyncio.run(_run(options.orders, options.reads, options.turns, options.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
