"""The console's work: what people read and do there, on connections and in a queue of its own.

It gives way to intake, and Postgres ends each of its statements after a few seconds, so that no page and no search
keeps a notice waiting (docs/design.md §2.13).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from service.db.pool import Arguments, Pool, Work, in_snapshot, in_statement, in_transaction
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake

STATEMENT_SECONDS = 3.0

Result = TypeVar("Result")
_Call = Callable[[Pool], Awaitable[Any]]


class Console:
    """Runs one piece of work after the other on each connection. All raise Overloaded or PostgresUnavailable."""

    def __init__(self, pool: Pool, bounds: BatchBounds, intake: Intake) -> None:
        self._pool = pool
        self.batches = Coalescer[_Call, Any](self._run, bounds, gives_way_to=intake.batches)

    async def run(self, call: Callable[[Pool], Awaitable[Result]]) -> Result:
        """Return what the call returns. It is run also for a caller that went away."""
        result: Result = await self.batches.join(call)
        return result

    async def read(self, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs) -> Result:
        """Read, all of it as of one moment."""
        return await self.run(lambda pool: in_snapshot(pool, work, *args, **named))

    async def ask(self, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs) -> Result:
        """Run one statement."""
        return await self.run(lambda pool: in_statement(pool, work, *args, **named))

    async def write(self, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs) -> Result:
        """Run work in a transaction."""
        return await self.run(lambda pool: in_transaction(pool, work, *args, **named))

    async def close(self) -> None:
        """Wait for what is under way."""
        await self.batches.close()

    async def _run(self, calls: Sequence[_Call]) -> Sequence[Any]:
        return [await call(self._pool) for call in calls]
