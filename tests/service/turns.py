"""Schedule actors for tests: they move one at a time, from one await of Postgres or PortOne to the next, and crash.

There is a gate before and after each statement, commit and call. A seed decides which actor passes next, and which
one crashes at its gate: it is cancelled, and only Postgres cleans up, as after the kill of a worker.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from random import Random
from typing import Any

from service.db.pool import Pool
from service.errors import NotAsked, PortOneUnavailable
from service.portone.client import CANCEL_SECONDS, Envelope, PortOne

# An actor that has not reached its next gate by then waits for a lock that another holds.
_BLOCKED_SECONDS = 0.01
_SCHEDULE_SECONDS = 30.0
# Crashes are tried most often where they cost most.
_COMMIT_RISK = 0.03
_CALL_RISK = 0.25

_actor: ContextVar[int | None] = ContextVar("actor", default=None)

Actor = Callable[[], Coroutine[Any, Any, None]]


class Turns:
    """A schedule. The first crash happens at the gate with the number `crash_at`, the others by chance."""

    def __init__(self, random: Random, crash_at: int, crashes: int) -> None:
        self._random = random
        self._crash_at = crash_at
        self._crashes_left = crashes
        self._parked: dict[int, asyncio.Future[None]] = {}
        self._risks: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._actors: dict[int, Actor] = {}
        self._moved = asyncio.Event()
        self.gates = 0
        self.crashes = 0

    async def gate(self, risk: float = 0.01) -> None:
        """Wait for the actor's turn, or crash with this probability. Callers that are not actors pass."""
        number = _actor.get()
        if number is None:
            return
        turn = self._parked[number] = asyncio.get_running_loop().create_future()
        self._risks[number] = risk
        self._moved.set()
        await turn

    def start(self, actor: Actor) -> None:
        """Start an actor. If it crashes it is started again, as by a supervisor."""
        number = len(self._actors)
        self._actors[number] = actor
        self._tasks[number] = asyncio.create_task(self._act(number, actor))

    async def run(self) -> None:
        """Run until every actor has ended."""
        async with asyncio.timeout(_SCHEDULE_SECONDS):
            while self._alive():
                self._moved.clear()
                if self._parked:
                    await self._let_one_move()
                else:
                    await self._moved.wait()
        for task in self._tasks.values():
            if not task.cancelled():
                task.result()

    async def _act(self, number: int, actor: Actor) -> None:
        _actor.set(number)
        try:
            await self.gate()
            await actor()
        finally:
            self._moved.set()

    def _alive(self) -> list[int]:
        return [number for number, task in self._tasks.items() if not task.done()]

    async def _let_one_move(self) -> None:
        number = self._random.choice(sorted(self._parked))
        turn = self._parked.pop(number)
        self.gates += 1
        if self._crashes_left and (self.gates == self._crash_at or self._random.random() < self._risks[number]):
            await self._crash(number)
            return
        turn.set_result(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BLOCKED_SECONDS):
                while number not in self._parked and not self._tasks[number].done():
                    self._moved.clear()
                    await self._moved.wait()

    async def _crash(self, number: int) -> None:
        self._crashes_left -= 1
        self.crashes += 1
        self._tasks[number].cancel()
        await asyncio.wait([self._tasks[number]])
        self._parked.pop(number, None)
        self.start(self._actors[number])


class SteppedPool:
    """A pool. Its connections wait for their actor's turn before and after each statement."""

    def __init__(self, pool: Pool, turns: Turns) -> None:
        self._pool, self._turns = pool, turns

    @contextlib.asynccontextmanager
    async def acquire(self, **options: Any) -> AsyncIterator["_Connection"]:
        async with self._pool.acquire(**options) as connection:
            yield _Connection(connection, self._turns)


class _Connection:
    def __init__(self, connection: Any, turns: Turns) -> None:
        self._connection, self._turns = connection, turns

    def __getattr__(self, name: str) -> Any:
        async def stepped(*args: Any, **options: Any) -> Any:
            await self._turns.gate()
            result = await getattr(self._connection, name)(*args, **options)
            await self._turns.gate()
            return result

        return stepped

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield
            await self._turns.gate(_COMMIT_RISK)
        # It is committed, and the actor may die before it knows.
        await self._turns.gate(_COMMIT_RISK)


class SteppedPortOne:
    """The client, with a turn before and after each call. With `late` a cancel arrives after its caller's time-out."""

    def __init__(self, portone: PortOne, turns: Turns, *, late: bool = False) -> None:
        self._portone, self._turns, self._late = portone, turns, late

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        await self._turns.gate()
        answer = await self._portone.payment(imp_uid, tier, include_sandbox=include_sandbox)
        await self._turns.gate()
        return answer

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        await self._turns.gate()
        answer = await self._portone.payments(imp_uids, tier)
        await self._turns.gate()
        return answer

    async def cancel(self, form: Mapping[str, str], tier: str, timeout_seconds: float = CANCEL_SECONDS) -> Envelope:
        await self._turns.gate(_CALL_RISK)
        if self._late:
            self._turns.start(_once(lambda: self._portone.cancel(form, tier, timeout_seconds)))
            await self._turns.gate(_CALL_RISK)
            raise PortOneUnavailable("TimeoutError")
        try:
            return await self._portone.cancel(form, tier, timeout_seconds)
        finally:
            await self._turns.gate(_CALL_RISK)


def _once(deliver: Callable[[], Coroutine[Any, Any, Any]]) -> Actor:
    """Return a request under way, which arrives once, or never if its sender crashes first."""
    sent = False

    async def arrive() -> None:
        nonlocal sent
        if not sent:
            sent = True
            with contextlib.suppress(NotAsked):
                await deliver()

    return arrive
