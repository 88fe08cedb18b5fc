"""Measure an order's life: each step by itself, and the whole."""

from collections.abc import Iterator
from itertools import count, islice

from bench import load, orders
from bench.buyers import Buyers
from bench.calls import COMPLETE, CONFIRM, READ, REGISTER, UNSURE, Call
from bench.load import Load
from bench.measure import QUIET_PER_SECOND, Bench, BenchFailed, Figures
from bench.systems import Running, System

# The steps that take any order, as often as you like.
_OF_ANY = {call.name: call for call in (CONFIRM, READ)}
STEPS = ("life", REGISTER.name, *_OF_ANY, COMPLETE.name)
_WARM_UP = 200


async def measure(bench: Bench, system: System, step: str) -> Figures:
    """Return the figures of one of a system's steps in one round. A completion names a payment that nobody looked at.

    Before it, the system lives whole lives for half of a step's time.
    """
    size = bench.size
    await bench.databases.fresh(size.table, system.tables)
    async with bench.launcher.running(system, workers=1) as running:
        new = count(orders.FIRST_NEW)
        await Buyers(new, size.step_seconds / 2).shop(running.port, 16)
        if step == "life":
            return await _lives(bench, running, new)
        if step == REGISTER.name:
            return await _step(bench, running, REGISTER, new)
        if step != COMPLETE.name:
            return await _step(bench, running, _OF_ANY[step], orders.around(size.table))
        unseen = iter(range(orders.FIRST, orders.FIRST + size.table))
        quiet = await _open_loop(running, COMPLETE, unseen, QUIET_PER_SECOND, size.quiet_notices)
        return {"complete_quiet": quiet} | await _step(bench, running, COMPLETE, unseen)


async def _lives(bench: Bench, running: Running, numbers: Iterator[int]) -> Figures:
    """Measure whole lives with each number of users."""
    figures = Figures()
    for users in bench.size.step_connections:
        lives = await Buyers(numbers, bench.size.step_seconds).shop(running.port, users)
        check("a life", lives)
        figures[f"life_{users}"] = lives.figures()
    return figures


async def _step(bench: Bench, running: Running, call: Call, numbers: Iterator[int]) -> Figures:
    """Measure a step at its limit with each number of connections, and then at half of its last limit."""
    figures, seconds = Figures(), bench.size.step_seconds
    requests = map(call.request, numbers)
    check(call.name, await load.closed_loop(running.port, 8, islice(requests, _WARM_UP), good=call.good))
    for connections in bench.size.step_connections:
        sent = await load.closed_loop(running.port, connections, requests, seconds, call.good)
        check(call.name, sent)
        figures[f"{call.name}_{connections}"] = sent.figures()
    rate = sent.per_second / 2
    figures[f"{call.name}_half"] = await _open_loop(running, call, numbers, rate, int(rate * seconds))
    return figures


async def _open_loop(running: Running, call: Call, numbers: Iterator[int], rate: float, calls: int) -> Figures:
    requests = list(map(call.request, islice(numbers, calls)))
    sent = await load.open_loop(running.port, rate, requests, good=call.good)
    check(call.name, sent)
    return {"rate": rate, "failed": sent.failed} | load.quantiles(sent.latencies)


def check(name: str, sent: Load) -> None:
    """Raise BenchFailed unless every answer was good. An unsure confirmation is only counted, as failed."""
    wrong = sent.failed - sent.statuses[UNSURE]
    if wrong or not sent.answered:
        raise BenchFailed(
            f"{name}: {wrong} of {sum(sent.statuses.values())} answers were wrong"
            f" (statuses {dict(sent.statuses)}: {sent.wrong[:300]!r})"
        )
