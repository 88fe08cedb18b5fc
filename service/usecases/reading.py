"""Reading orders. Reads that arrive while one statement is under way share the next.

A batch gives way to intake: PortOne sends a webhook once, and whoever reads may wait a moment.
"""

from collections.abc import Sequence

from service.db import order_views
from service.db.order_views import OrderView
from service.db.pool import Pool, in_statement
from service.usecases.coalescing import BatchBounds, Coalescer
from service.usecases.intake import Intake


class Reading:
    """Reads orders, in batches."""

    def __init__(self, pool: Pool, intake: Intake, bounds: BatchBounds) -> None:
        self._pool = pool
        self.batches = Coalescer[str, OrderView | None](self._read, bounds, gives_way_to=intake.batches)

    async def read(self, merchant_uid: str) -> OrderView | None:
        """Return the order as it stands, or None. Raises Overloaded or PostgresUnavailable."""
        return await self.batches.join(merchant_uid)

    async def close(self) -> None:
        """Wait for what is being read."""
        await self.batches.close()

    async def _read(self, merchant_uids: Sequence[str]) -> Sequence[OrderView | None]:
        found = await in_statement(self._pool, order_views.read, list(set(merchant_uids)))
        return [found.get(merchant_uid) for merchant_uid in merchant_uids]
