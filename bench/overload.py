"""Measure the mix under overload: payments go on while a flood of reads holds many connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterator
from itertools import islice

from bench import load, orders
from bench.calls import COMPLETE, CONFIRM, READ, WEBHOOK, Call
from bench.load import Load
from bench.measure import Bench, BenchFailed, Figures
from bench.systems import Running, System

_WEBHOOK_CONNECTIONS = 64
_CALLS_PER_SECOND = 100.0
# The flood is older than what is measured in it, and lasts longer, by this part of that time.
_LEAD = 0.2


async def measure(bench: Bench, system: System) -> Figures:
    """Return the figures of a system in one round. What is refused or unsure is counted as failed."""
    table = bench.size.table
    async with _started(bench, system) as running:
        alone = await _webhooks(bench, running)
    async with _started(bench, system) as running:
        flood, flooded = await _flooded(bench, running, _webhooks(bench, running))
    async with _started(bench, system) as running:
        confirms = _steady(bench, running, CONFIRM, orders.around(table))
        completes = _steady(bench, running, COMPLETE, iter(range(orders.FIRST, orders.FIRST + table)))
        other_flood, confirmed, completed = await _flooded(bench, running, confirms, completes)
    loads = {
        "webhook_alone": alone,
        "webhook_flooded": flooded,
        "read_beside_webhooks": flood,
        "confirm": confirmed,
        "complete": completed,
        "read_beside_calls": other_flood,
    }
    return {"overload": {name: sent.figures() for name, sent in loads.items()}}


@contextlib.asynccontextmanager
async def _started(bench: Bench, system: System) -> AsyncIterator[Running]:
    """Run the system on a fresh database, after some calls of each kind."""
    await bench.databases.fresh(bench.size.table, system.tables)
    async with bench.launcher.running(system, workers=1) as running:
        numbers = range(orders.FIRST + bench.size.table - _WEBHOOK_CONNECTIONS, orders.FIRST + bench.size.table)
        for call in (READ, CONFIRM, COMPLETE, WEBHOOK):
            sent = await load.closed_loop(running.port, 8, map(call.request, numbers), good=call.good)
            if sent.failed:
                raise BenchFailed(
                    f"{call.name}: {sent.failed} answers were wrong before the flood ({sent.wrong[:300]!r})"
                )
        yield running


async def _flooded(bench: Bench, running: Running, *calls: Awaitable[Load]) -> list[Load]:
    """Make the calls while the system is flooded with reads of all orders. Return the flood's load, then theirs."""
    requests = map(READ.request, orders.around(bench.size.table))
    lead, started = _LEAD * bench.size.flood_seconds, asyncio.Event()

    async def later(call: Awaitable[Load]) -> Load:
        await started.wait()
        await asyncio.sleep(lead)
        return await call

    seconds = bench.size.flood_seconds + 2 * lead
    flood = load.closed_loop(running.port, bench.size.flood_connections, requests, seconds, started=started)
    return await asyncio.gather(flood, *map(later, calls))


async def _webhooks(bench: Bench, running: Running) -> Load:
    requests = map(WEBHOOK.request, orders.around(bench.size.table))
    return _answered(
        WEBHOOK, await load.closed_loop(running.port, _WEBHOOK_CONNECTIONS, requests, bench.size.flood_seconds)
    )


async def _steady(bench: Bench, running: Running, call: Call, numbers: Iterator[int]) -> Load:
    calls = int(_CALLS_PER_SECOND * bench.size.flood_seconds)
    requests = list(map(call.request, islice(numbers, calls)))
    return _answered(call, await load.open_loop(running.port, _CALLS_PER_SECOND, requests))


def _answered(call: Call, sent: Load) -> Load:
    if not sent.answered:
        raise BenchFailed(f"{call.name}: none was answered well ({dict(sent.statuses)}: {sent.wrong[:300]!r})")
    return sent
