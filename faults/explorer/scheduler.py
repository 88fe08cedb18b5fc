"""Decide by seed which call to Postgres, Redis or PortOne happens next.

Each such call waits at a gate. The scheduler lets one through at a time, and decides again only when nothing moves
any more. So a seed gives the same schedule again. A call that waits for a lock in Postgres counts as standing still.
So two transactions can block each other here as they do in production.
"""

import asyncio
import contextvars
import random
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

# A call that takes longer may wait for a lock: Postgres is asked.
_PATIENCE_SECONDS = 0.002
_STEPS_MAX = 3_000
# A schedule that stands still for longer shows a bug of ours, or of Postgres.
_STUCK_SECONDS = 10.0

PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")
ACTOR: contextvars.ContextVar[str] = contextvars.ContextVar("actor", default="?")
IN_TRANSACTION: contextvars.ContextVar[bool] = contextvars.ContextVar("in_transaction", default=False)
_NETWORK = ("portone", "list", "redis")


# A loop that always has something to run asks the network again after this many turns.
_TURNS_MAX = 1_000


class _LazySelector(selectors.DefaultSelector):
    """Asks the system only when the loop has nothing else to do. That saves 1,300 of 1,700 calls in a schedule.

    It also makes a schedule depend less on the moment at which an answer arrives.
    """

    _unasked = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0 and self._unasked < _TURNS_MAX:
            self._unasked += 1
            return []
        self._unasked = 0
        return super().select(timeout)


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop for schedules."""
    return asyncio.SelectorEventLoop(_LazySelector())


class Stuck(Exception):
    """Nothing moves, and no call can be let through."""


@dataclass(eq=False)
class Process:
    """A process of the service that can die: its tasks and its connections."""

    name: str
    alive: bool = True
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    connections: set[Any] = field(default_factory=set)


NOBODY = Process("nobody")


@dataclass(eq=False)
class Call:
    """A call that waits at its gate or is under way."""

    label: str
    kind: str
    actor: str
    process: Process
    passed: asyncio.Event = field(default_factory=asyncio.Event)
    done: bool = False
    blocked: bool = False
    pid: int | None = None
    fault: str | None = None


class Scheduler:
    """Lets one call through at a time, by seed. With `free` all calls pass without faults."""

    def __init__(self, rng: random.Random, waiting_for_locks: Callable[[], Awaitable[set[int]]]) -> None:
        self.rng = rng
        self.free = False
        self.trace: list[str] = []
        self.broken: list[str] = []
        self.steps = 0
        self._waiting: list[Call] = []
        self._under_way: list[Call] = []
        self._moved = asyncio.Event()
        self._locks = waiting_for_locks
        self._sessions: set[int] = set()  # in use, so they may hold locks
        self._released = False  # whether locks may have been released since Postgres was asked who waits
        self._moves = 0
        self.choose_fault: Callable[[Call], str | None] = lambda _: None
        # A call that is not willing waits while others are.
        self.is_willing: Callable[[Call], bool] = lambda _: True

    @asynccontextmanager
    async def call(self, kind: str, label: str, pid: int | None = None) -> AsyncIterator[str | None]:
        """Wait to be let through, and be under way until the block ends. Yields the fault to suffer, or None."""
        if kind in _NETWORK and IN_TRANSACTION.get():
            self.broken.append(f"a call over the network inside a transaction: {label}")
        if self.free:
            self.say(f"[rest] {label}")
            yield None
            return
        process = PROCESS.get()
        if not process.alive:
            raise asyncio.CancelledError
        call = Call(label, kind, ACTOR.get(), process, pid=pid)
        self._waiting.append(call)
        failed = True
        try:
            await call.passed.wait()
            if not process.alive:
                raise asyncio.CancelledError
            yield call.fault
            failed = False
        finally:
            call.done = True
            if call in self._waiting:
                self._waiting.remove(call)
            if call in self._under_way:
                self._under_way.remove(call)
            # A statement that fails ends its transaction in Postgres at once.
            released = failed or kind == "commit" or (pid is not None and not IN_TRANSACTION.get())
            self._has_moved(released=released)

    @asynccontextmanager
    async def moving(self, label: str, pid: int | None = None) -> AsyncIterator[None]:
        """Be under way without a gate: the next decision waits until the block ends."""
        call = Call(label, "moving", ACTOR.get(), PROCESS.get(NOBODY), pid=pid)
        self._under_way.append(call)
        try:
            yield
        finally:
            self._under_way.remove(call)
            self._has_moved(released=True)

    @contextmanager
    def session(self, pid: int) -> Iterator[None]:
        """Mark a session as in use: it may hold locks until the block ends, or until it is `cut`."""
        self._sessions.add(pid)
        try:
            yield
        finally:
            self._sessions.discard(pid)

    def cut(self, pid: int) -> None:
        """Note that a session has ended, which releases its locks."""
        self._sessions.discard(pid)
        self._released = True

    def say(self, line: str) -> None:
        self.trace.append(f"{self.steps:4d} {line}")

    async def run(self, unfinished: Callable[[], bool], crash: Callable[[], Awaitable[bool]]) -> None:
        """Decide until nothing is left to do. `crash` may kill a process, and returns whether it did."""
        await self._settle()
        while unfinished() and self.steps < _STEPS_MAX:
            if not self._waiting:
                if not self._under_way:
                    return  # the tasks that are left wait for something that was killed
                await self._settle()  # all wait for locks: Postgres must resolve it
                continue
            self.steps += 1
            if await crash():
                await self._settle()
                continue
            # Sorted, because the order of arrival is random when a commit lets another call continue.
            waiting = sorted(self._waiting, key=lambda call: (call.actor, call.label))
            willing = [call for call in waiting if self.is_willing(call)]
            self._let_through(self.rng.choice(willing or waiting))
            await self._settle()

    def drop(self, process: Process) -> None:
        """Drop the waiting calls of a dead process."""
        for call in [call for call in self._waiting if call.process is process]:
            self._waiting.remove(call)
            call.passed.set()

    def release_all(self) -> None:
        """Let every call pass from now on."""
        self.free = True
        for call in self._waiting:
            call.passed.set()

    def _let_through(self, call: Call) -> None:
        call.fault = self.choose_fault(call)
        self.say(f"[{call.actor}] {call.label}{f'  <- {call.fault}' if call.fault else ''}")
        self._waiting.remove(call)
        self._under_way.append(call)
        call.passed.set()

    async def _settle(self) -> None:
        """Wait until every task waits at a gate, for a lock, or for another task."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            await self._drain()
            if self._under_way and self._released and self._all_blocked():
                await self._mark_blocked()
                await self._drain()
            if not self._under_way or (self._waiting and not self._released and self._all_blocked()):
                return
            await self._wait_for_a_move()
            if loop.time() - started > _STUCK_SECONDS:
                raise Stuck(", ".join(f"[{call.actor}] {call.label}" for call in self._under_way))

    def _all_blocked(self) -> bool:
        return all(call.blocked for call in self._under_way)

    async def _wait_for_a_move(self) -> None:
        """Wait until a call ends. If all calls under way may wait for a lock, ask Postgres after a while."""
        may_be_locked = all(call.pid is not None and self._sessions - {call.pid} for call in self._under_way)
        self._moved.clear()
        moves = self._moves
        patience = _PATIENCE_SECONDS if may_be_locked else _STUCK_SECONDS
        timer = asyncio.get_running_loop().call_later(patience, self._moved.set)
        await self._moved.wait()
        timer.cancel()
        if self._moves == moves:
            await self._mark_blocked()

    async def _mark_blocked(self) -> None:
        """Ask Postgres which calls wait for a lock."""
        self._released = False
        waiting = await self._locks()
        for call in self._under_way:
            call.blocked = call.pid is not None and call.pid in waiting

    def _has_moved(self, *, released: bool) -> None:
        self._released |= released
        self._moves += 1
        self._moved.set()

    @staticmethod
    async def _drain() -> None:
        """Run everything that can run without the network."""
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - the loop does not announce that it has nothing left to run
            await asyncio.sleep(0)
