"""Put Postgres, Redis and PortOne behind the scheduler's gates, each with its faults."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any
from uuid import UUID

import asyncpg

from faults.explorer.scheduler import IN_TRANSACTION, NOBODY, PROCESS, Scheduler
from faults.explorer.truth import Truth
from service.domain.payment import ACCOUNT
from service.errors import PortOneRefused, PortOneUnavailable, RedisUnavailable, UnreadableAnswer
from service.portone.client import LedgerPage
from service.redis.budget import Budget, Lane
from service.redis.queue import Queue

# The faults that a call may suffer, by its kind.
FAULTS = {
    "begin": ("refused",),
    "sql": ("cut_before", "cut_after", "deadlock", "serialization"),
    "commit": ("cut_before", "cut_after", "serialization"),
    "redis": ("away", "answer_lost"),
    "portone": ("down", "garbage", "unauthorized"),
    "list": ("down", "garbage"),
}


def _caller() -> str:
    """Return the service's function that makes the call, as module.function."""
    frame = sys._getframe(1)
    while frame.f_back and ("explorer" in frame.f_code.co_filename or "contextlib" in frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__', '').rpartition('.')[2]}.{frame.f_code.co_name}"


class GatedConnection:
    """A connection. Each of its statements waits at a gate."""

    def __init__(self, connection: Any, scheduler: Scheduler, admin: asyncpg.Connection) -> None:
        self._connection, self._scheduler, self._admin = connection, scheduler, admin
        self._session = connection._con  # it can be asked even after its return to the pool
        self.pid = connection.get_server_pid()

    def transaction(self) -> "GatedTransaction":
        return GatedTransaction(self)

    async def execute(self, *arguments: Any) -> Any:
        return await self.step("sql", _caller(), self._connection.execute, *arguments)

    async def fetch(self, *arguments: Any) -> Any:
        return await self.step("sql", _caller(), self._connection.fetch, *arguments)

    async def fetchrow(self, *arguments: Any) -> Any:
        return await self.step("sql", _caller(), self._connection.fetchrow, *arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        return await self.step("sql", _caller(), self._connection.fetchval, *arguments)

    async def step(self, kind: str, label: str, call: Any, *arguments: Any) -> Any:
        """Wait at the gate, then run the call with the fault that it suffers."""
        async with self._scheduler.call(kind, label, self.pid) as fault:
            match fault:
                case "deadlock":
                    raise asyncpg.DeadlockDetectedError("injected")
                case "serialization":
                    raise asyncpg.SerializationError("injected")
                case "cut_before":
                    await self.cut()
                case _:
                    pass
            result = await call(*arguments)
            if fault == "cut_after":
                await self.cut()
                raise asyncpg.ConnectionDoesNotExistError("injected: the answer was lost")
            return result

    async def cut(self) -> None:
        """End the session in Postgres, and wait until it is gone."""
        await self._admin.execute("SELECT pg_terminate_backend($1)", self.pid)
        # A session releases its locks before it ends, and asyncpg notices the end after that.
        while not self._session.is_closed():  # noqa: ASYNC110 - asyncpg does not announce the end
            await asyncio.sleep(0.0005)
        self._scheduler.cut(self.pid)

    def moving(self, label: str) -> Any:
        return self._scheduler.moving(label, self.pid)

    @property
    def raw(self) -> Any:
        return self._connection


class GatedTransaction:
    """A transaction whose BEGIN and COMMIT wait at a gate. ROLLBACK does not, because its time makes no difference."""

    def __init__(self, connection: GatedConnection) -> None:
        self._connection = connection
        self._transaction = connection.raw.transaction()

    async def __aenter__(self) -> None:
        async with self._connection.moving("BEGIN"):
            await self._transaction.start()
        self._outer = IN_TRANSACTION.set(True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        IN_TRANSACTION.reset(self._outer)
        if error is not None:
            await self._roll_back()
            return
        try:
            await self._connection.step("commit", "commit", self._transaction.commit)
        except asyncpg.SerializationError:
            await self._roll_back()
            raise

    async def _roll_back(self) -> None:
        """Roll back as asyncpg does. A session that is gone has rolled back already and raises."""
        async with self._connection.moving("ROLLBACK"):
            await self._transaction.rollback()


class GatedPool:
    """A pool whose connections are gated. It can be away."""

    def __init__(self, pool: Any, scheduler: Scheduler, admin: asyncpg.Connection) -> None:
        self._pool, self._scheduler, self._admin = pool, scheduler, admin
        self.away = False

    @asynccontextmanager
    async def acquire(self, timeout: float | None = None) -> AsyncIterator[GatedConnection]:
        async with self._scheduler.call("begin", f"begin {_work()}") as fault:
            if fault or self.away:
                raise ConnectionRefusedError("injected")
            connection = await self._pool.acquire()  # there are enough, and a time-out would cost a task
        gated = GatedConnection(connection, self._scheduler, self._admin)
        process = PROCESS.get(NOBODY)
        process.connections.add(gated)
        with self._scheduler.session(gated.pid):
            try:
                yield gated
            finally:
                process.connections.discard(gated)
                async with gated.moving("release"):
                    await self._pool.release(connection)


def _work() -> str:
    """Return the name of the function that called service.db.pool, which names the transaction."""
    frame: Any = sys._getframe(1)
    while frame and frame.f_globals.get("__name__") != "service.db.pool":
        frame = frame.f_back
    while frame and frame.f_globals.get("__name__") == "service.db.pool":
        frame = frame.f_back
    return frame.f_code.co_name if frame else ""


class GatedQueue(Queue):
    """The real queue in the real Redis. Redis can be away, or lose an answer."""

    def __init__(self, redis: Any, scheduler: Scheduler) -> None:
        super().__init__(redis)
        self._scheduler = scheduler
        self.jobs = 0  # at least as many as are in Redis

    async def put(self, ids: Sequence[UUID], wait: timedelta = timedelta(), *, first: bool = False) -> None:
        await self._step("put", self._put, ids, wait, first=first)

    async def _put(self, ids: Sequence[UUID], wait: timedelta, *, first: bool) -> None:
        await super().put(ids, wait, first=first)
        self.jobs += 1

    async def tell(
        self,
        imp_uids: Sequence[str],
        merchant_uids: Sequence[str] = (),
        reached: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        await self._step("tell", super().tell, imp_uids, merchant_uids, reached)

    async def length(self) -> int:
        length: int = await self._step("length", super().length)
        return length

    async def is_durable(self) -> bool:
        durable: bool = await self._step("is_durable", super().is_durable)
        return durable

    async def has_room(self) -> bool:
        return True

    async def spill(self, notices: Any, senders: Any) -> Any:
        return await self._step("spill", super().spill, notices, senders)

    async def spilled(self, limit: int) -> Any:
        return await self._step("spilled", super().spilled, limit)

    async def forget_spilled(self, entry_ids: Sequence[bytes]) -> None:
        await self._step("forget_spilled", super().forget_spilled, entry_ids)

    async def _step(self, name: str, call: Any, *arguments: Any, **named: Any) -> Any:
        async with self._scheduler.call("redis", f"redis {name}") as fault:
            if fault == "away":
                raise RedisUnavailable("injected")
            result = await call(*arguments, **named)
            if fault == "answer_lost":
                raise RedisUnavailable("injected: the answer was lost")
            return result


class NoBudget(Budget):
    """A budget without limit, because waiting for the next second is not explored here."""

    def __init__(self) -> None:
        pass

    async def take(self, lane: Lane, wait_seconds: float = 0.0, account: str = ACCOUNT) -> bool:
        return True


class GatedPortOne:
    """PortOne, which answers with the current truth, an older one, or not at all."""

    def __init__(self, truth: Truth, scheduler: Scheduler) -> None:
        self._truth, self._scheduler = truth, scheduler

    async def payment(self, imp_uid: str, tier: str, *, include_sandbox: bool = True) -> object | None:
        async with self._answered("portone", f"portone payment {imp_uid}") as at:
            return self._truth.payment(imp_uid, tier, at)

    async def payments(self, imp_uids: Sequence[str], tier: str) -> list[object]:
        async with self._answered("portone", f"portone payments {','.join(imp_uids)}") as at:
            return [payment for imp_uid in imp_uids if (payment := self._truth.payment(imp_uid, tier, at))]

    async def payments_of(self, merchant_uids: Sequence[str], tier: str) -> list[object]:
        async with self._answered("list", "portone payments_of") as at:
            return self._truth.payments_of(merchant_uids, tier, at)

    async def ledger(self, tier: str, page: int, *, since: int | None = None) -> LedgerPage:
        async with self._answered("list", f"portone ledger page {page}") as at:
            return LedgerPage(**self._truth.ledger(tier, page, at))

    @asynccontextmanager
    async def _answered(self, kind: str, label: str) -> AsyncIterator[float | None]:
        """Wait at two gates: PortOne answers the request at the first, and the answer arrives at the second."""
        async with self._scheduler.call(kind, label) as fault:
            if fault == "down":
                raise PortOneUnavailable("injected")
            if fault == "garbage":
                raise UnreadableAnswer("injected")
            if fault == "unauthorized":
                raise PortOneRefused
            at = self._truth.some_moment_ago(self._scheduler.rng) if fault == "stale" else None
            if fault == "stale":
                self._truth.was_stale = True
            await asyncio.sleep(0)
        yield at
        async with self._scheduler.call("answer", f"{label} answers"):
            pass
