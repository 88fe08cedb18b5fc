"""Measure an order's life: each step by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from bench import load, orders
from bench.load import Load
from bench.measure import Bench, BenchFailed, Figures
from bench.systems import SERVICE_KEY, WEBHOOKS, Running, System

_KEY = f"Authorization: Bearer {SERVICE_KEY}\r\n"
_WARM_UP = 200
# What `confirm_url` answers when it could not look: no fault of the measurement, so it is counted.
UNSURE = 424


@dataclass(frozen=True)
class Step:
    """A step of an order's life: the request about an order, and the status of a good answer."""

    name: str
    request: Callable[[int], bytes]
    good: int = 200


REGISTER = Step("register", lambda n: load.post("/orders", orders.registration(n), _KEY), 201)
CONFIRM = Step("confirm", lambda n: load.post("/payments/confirm", orders.question(n)))
WEBHOOK = Step("webhook", lambda n: load.post(WEBHOOKS, orders.webhook(n)))
COMPLETE = Step("complete", lambda n: load.post("/payment/complete", orders.completion(n)))
READ = Step("read", lambda n: load.get(f"/orders/{orders.merchant_uid(n)}", _KEY))


async def measure(bench: Bench, system: System) -> Figures:
    """Return the figures of a system in one round."""
    figures: Figures = {}
    await bench.databases.fresh(bench.size.table, system.tables)
    async with bench.launcher.running(system, workers=1) as running:
        for step, numbers in _steps(bench.size.table):
            check(
                step,
                await load.closed_loop(running.port, 8, _requests(step, islice(numbers, _WARM_UP)), None, step.good),
            )
            for connections in bench.size.step_connections:
                figures[f"{step.name}_{connections}"] = await _step(bench, running, step, numbers, connections)
    return figures


def _steps(table: int) -> list[tuple[Step, Iterator[int]]]:
    """Return the steps, with the orders that each is about. A completion names a payment that nobody looked at."""
    return [
        (REGISTER, count(orders.FIRST_NEW)),
        (CONFIRM, around(table)),
        (READ, around(table)),
        (COMPLETE, iter(range(orders.FIRST, orders.FIRST + table))),
    ]


def around(table: int) -> Iterator[int]:
    """Yield the numbers of all orders in the table, again and again."""
    return (orders.FIRST + number % table for number in count())


async def _step(bench: Bench, running: Running, step: Step, numbers: Iterator[int], connections: int) -> Figures:
    requests = _requests(step, numbers)
    sent = await load.closed_loop(running.port, connections, requests, bench.size.step_seconds, step.good)
    check(step, sent)
    return sent.figures()


def _requests(step: Step, numbers: Iterator[int]) -> Iterator[bytes]:
    return map(step.request, numbers)


def check(step: Step, sent: Load) -> None:
    """Raise BenchFailed unless every answer was good. An unsure confirmation is only counted as failed."""
    wrong = sent.failed - (sent.statuses[UNSURE] if step is CONFIRM else 0)
    if wrong or not sent.answered:
        raise BenchFailed(
            f"{step.name}: {wrong} of {sum(sent.statuses.values())} answers were not {step.good}"
            f" ({dict(sent.statuses)}: {sent.wrong[:300]!r})"
        )
