"""Reading orders. Reads that arrive while one statement is under way share the next.

A batch gives way to intake: PortOne sends a webhook once, and whoever reads may wait a moment.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from service.db import archives, order_views
from service.db.order_views import OrderView
from service.db.pool import Pool, in_statement
from service.usecases.archiving import archived_error
from service.usecases.change_waiters import ChangeWaiters
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake
from service.usecases.standby_reads import Dated, StandbyReads


class Reading:
    """Reads orders, in batches. `waiters` are woken by each change; `standby` may answer reads, if there is one."""

    def __init__(
        self,
        pool: Pool,
        intake: Intake,
        bounds: BatchBounds,
        waiters: ChangeWaiters,
        standby: StandbyReads | None = None,
    ) -> None:
        self._pool = pool
        self._standby = standby
        self._waiters = waiters
        self.batches = Coalescer[str, OrderView | None](self._read, bounds, gives_way_to=intake.batches)
        self.recent_batches = Coalescer[str, Dated[OrderView | None]](
            self._read_recent, bounds, gives_way_to=intake.batches
        )

    async def read(self, merchant_uid: str) -> OrderView | None:
        """Return the order as it stands, or None. Raises OrderArchived, Overloaded or PostgresUnavailable."""
        return await self.batches.join(merchant_uid)

    async def read_recent(self, merchant_uid: str, age_max_seconds: float) -> Dated[OrderView | None]:
        """Return the order as it stands, or as a standby has it that is at most so old.

        An order that the standby does not have may be new. Raises Overloaded or PostgresUnavailable.
        """
        if self._standby and age_max_seconds > 0:
            dated = await self.recent_batches.join(merchant_uid)
            if dated.value and dated.age_seconds <= age_max_seconds:
                return dated
        return Dated(await self.read(merchant_uid))

    async def read_unless(
        self, merchant_uid: str, is_known: Callable[[OrderView], bool], wait_seconds: float, caller: bytes = b""
    ) -> OrderView | None:
        """Return the order once it is not as the caller knows it, or as it stands when the wait is over; or None.

        Raises OrderArchived, Overloaded or PostgresUnavailable.
        """
        until = time.monotonic() + wait_seconds
        with self._waiters.waiting_for(merchant_uid, caller) as changed:  # before reading, so that no change is missed
            while True:
                changed.clear()
                view = await self.read(merchant_uid)
                left = until - time.monotonic()
                changed.version = view.order.version if view else 0
                if view is None or left <= 0 or self._waiters.is_closing or not is_known(view):
                    return view
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await changed.wait()

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.recent_batches.close()
        await self.batches.close()

    async def _read_recent(self, merchant_uids: Sequence[str]) -> Sequence[Dated[OrderView | None]]:
        assert self._standby  # noqa: S101 - nobody joins without it
        bound = self._standby.age_max_seconds
        found = await self._standby.read(bound, order_views.read, list(set(merchant_uids)))
        if found is None:
            return [Dated(None)] * len(merchant_uids)
        return [Dated(found.value.get(merchant_uid), found.age_seconds) for merchant_uid in merchant_uids]

    async def _read(self, merchant_uids: Sequence[str]) -> Sequence[OrderView | Exception | None]:
        wanted = set(merchant_uids)
        found: dict[str, OrderView | Exception] = {**await in_statement(self._pool, order_views.read, list(wanted))}
        if missing := wanted - found.keys():
            archived = await in_statement(self._pool, archives.find, list(missing))
            found |= {merchant_uid: archived_error(where) for merchant_uid, where in archived.items()}
        return [found.get(merchant_uid) for merchant_uid in merchant_uids]
