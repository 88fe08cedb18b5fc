"""Follow the feed while it is written, and check that each follower has each change once: `python -m faults.feed`.

Two receivers and two workers write: each order is registered, amended and paid. Twenty followers read, through a proxy
that sends each connection to another receiver.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import aiohttp

from faults.followers import Follower, make_followers
from faults.report import write_report
from faults.stack import KEY, RECEIVERS, WORKERS, Stack, running_stack
from service.domain.feed_cursor import cursor_of

CHANGES_OF_AN_ORDER = 3
_ORDERS = 6_667  # 20,001 changes
_SCALE = 0.1
_AMOUNT = 1000
_AT_ONCE = 40
_OPEN_SECONDS = 20.0
_WITHIN_SECONDS = 170.0
_CATCH_UP_SECONDS = 60.0
_POLL_SECONDS = 0.1
_DOWN_SECONDS = 0.3
_HEADERS = {"Authorization": f"Bearer {KEY}"}
_AWAY = (aiohttp.ClientError, OSError, TimeoutError)

Trouble = Callable[[Stack, random.Random], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Result:
    """The outcome of a run: how many changes there were, each follower, and what was wrong."""

    changes: int
    seconds: float
    followers: list[Follower]
    wrong: list[str]

    def line(self, name: str) -> str:
        """Return the figures as a line."""
        delays = sorted(chain.from_iterable(follower.delays for follower in self.followers if follower.is_prompt))
        shares = ", ".join(f"p{share} {_at(delays, share / 100) * 1000:.0f} ms" for share in (50, 99))
        return (
            f"`{name}`: {self.changes} changes in {self.seconds:.0f} s, {len(self.followers)} followers on"
            f" {sum(follower.connections for follower in self.followers)} connections, from a transaction's begin to a"
            f" steady follower {shares}; {'; '.join(self.wrong) or 'each follower had each change once, in order'}"
        )


@contextlib.asynccontextmanager
async def _calm(stack: Stack, rng: random.Random) -> AsyncIterator[None]:
    """Let nothing happen."""
    yield


@contextlib.asynccontextmanager
async def _foreign(stack: Stack, rng: random.Random) -> AsyncIterator[None]:
    """Leave another program's transaction open in the cluster, which has written, but no events."""
    async with _open_transaction(stack, "CREATE TABLE foreign_table (n integer)"):
        yield


@contextlib.asynccontextmanager
async def _writing(stack: Stack, rng: random.Random) -> AsyncIterator[None]:
    """Leave a transaction open that has written to the table of events, which holds the feed back."""
    async with _open_transaction(stack, "UPDATE order_events SET who = who WHERE false"):
        yield


@contextlib.asynccontextmanager
async def _open_transaction(stack: Stack, statement: str) -> AsyncIterator[None]:
    connection = await stack.connect()
    await connection.execute("BEGIN")
    await connection.execute(statement)

    async def end() -> None:
        await asyncio.sleep(_OPEN_SECONDS)
        await connection.execute("ROLLBACK")

    ending = asyncio.create_task(end())
    try:
        yield
        await ending
    finally:
        ending.cancel()
        await connection.close()


@contextlib.asynccontextmanager
async def _killed(stack: Stack, rng: random.Random) -> AsyncIterator[None]:
    """Kill a receiver or a worker every second or two, and Postgres once, and start them again."""
    over = asyncio.Event()
    killing = asyncio.create_task(_kill(stack, rng, over))
    try:
        yield
    finally:
        over.set()
        await killing  # to its end, so that nothing stays down


async def _kill(stack: Stack, rng: random.Random, over: asyncio.Event) -> None:
    victims = chain(("postgres",), (rng.choice((*RECEIVERS, *WORKERS)) for _ in repeat(None)))
    while not over.is_set():
        name = next(victims)
        await asyncio.sleep(rng.uniform(1.0, 2.0))
        stack.signal(name, signal.SIGKILL)
        await stack.processes[name].ended()
        await asyncio.sleep(_DOWN_SECONDS)
        await stack.start_again(name)
        await stack.ready()  # a slow machine would otherwise never get to work


TROUBLES: dict[str, Trouble] = {"calm": _calm, "foreign": _foreign, "writing": _writing, "killed": _killed}


async def follow_all(stack: Stack, trouble: Trouble, orders: int, seed: int) -> Result:
    """Write the changes of these orders beside this trouble, and let everybody follow until nothing is left."""
    followers = make_followers(stack.entry_url, seed)
    following = [asyncio.create_task(follower.follow()) for follower in followers]
    began = time.monotonic()
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            async with trouble(stack, random.Random(seed)):  # noqa: S311 - a run that can be repeated
                await _change(stack, orders)
            await stack.ready()
            events = await _written(stack, orders)
            seconds = time.monotonic() - began
            with contextlib.suppress(TimeoutError):
                await _until(lambda: _have(followers, len(events)), seconds=_CATCH_UP_SECONDS)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    wrong = [sentence for follower in followers for sentence in judge(follower.name, follower.seen, events)]
    return Result(len(events), seconds, followers, wrong)


def judge(name: str, seen: list[tuple[str, str, int]], events: list[tuple[str, str, int]]) -> list[str]:
    """Return a sentence for what is wrong with what a follower has seen of the events, in their order."""
    if seen == events:
        return []
    missed, twice = len(set(events) - set(seen)), len(seen) - len(set(seen))
    return [f"{name} missed {missed} changes, had {twice} twice, and had {len(seen)} of {len(events)} in all"]


async def _have(followers: list[Follower], count: int) -> bool:
    return all(len(follower.seen) >= count for follower in followers)


async def _change(stack: Stack, orders: int) -> None:
    """Register, amend and pay each order, in spite of whatever fails."""
    numbers = iter(range(orders))

    async def register() -> None:
        async with aiohttp.ClientSession(headers=_HEADERS) as session:
            for number in numbers:
                order = {"merchant_uid": f"feed-{number}", "amount": _AMOUNT}
                await _insist(session, "POST", f"{stack.entry_url}/orders", order)
                await _insist(session, "PATCH", f"{stack.entry_url}/orders/feed-{number}", {"name": "amended"})

    await asyncio.gather(*(register() for _ in range(_AT_ONCE)))
    body = {"count": orders, "prefix": "feed", "amount": _AMOUNT, "webhook": True, "concurrency": _AT_ONCE}
    await stack.control("POST", "bulk", body, seconds=_WITHIN_SECONDS)


async def _insist(session: aiohttp.ClientSession, method: str, url: str, body: dict[str, Any]) -> None:
    while True:
        with contextlib.suppress(*_AWAY):
            async with session.request(method, url, json=body, headers={"If-Match": "*"}) as answer:
                if answer.status < 300:
                    return
        await asyncio.sleep(_POLL_SECONDS)


async def _written(stack: Stack, orders: int) -> list[tuple[str, str, int]]:
    """Wait until all orders are paid, and return the events as followers should have seen them."""

    async def are_paid() -> bool:
        with contextlib.suppress(*_AWAY):
            return bool(await _fetchval(stack, "SELECT count(*) FROM orders WHERE state = 'paid'") == orders)
        return False

    await _until(are_paid, _WITHIN_SECONDS)
    connection = await stack.connect()
    try:
        rows = await connection.fetch("SELECT id, merchant_uid, version FROM order_events ORDER BY id")
    finally:
        await connection.close()
    return [(cursor_of(row["id"]), row["merchant_uid"], row["version"]) for row in rows]


async def _fetchval(stack: Stack, query: str) -> Any:
    connection = await stack.connect()
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it becomes true in other processes
            await asyncio.sleep(_POLL_SECONDS)


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


async def _run(name: str, orders: int, seed: int) -> Result:
    async with running_stack(_SCALE) as stack:
        return await follow_all(stack, TROUBLES[name], orders, seed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.feed", description=__doc__)
    parser.add_argument("trouble", nargs="*", choices=[*TROUBLES, []], help="beside what; all of them if none is named")
    parser.add_argument("--orders", type=int, default=_ORDERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write the figures into docs/faults.md")
    options = parser.parse_args()
    lines, wrong = [], 0
    for name in options.trouble or TROUBLES:
        result = asyncio.run(_run(name, options.orders, options.seed))
        wrong += len(result.wrong)
        lines.append(f"- {result.line(name)}")
        sys.stdout.write(f"{lines[-1]}\n")
        sys.stdout.flush()
    if options.report:
        write_report(feed=lines)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
