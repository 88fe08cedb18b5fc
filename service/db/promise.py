"""What the promise is measured by, read across the tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.db.pool import Connection
from service.domain.payment import Store


@dataclass(frozen=True, slots=True)
class Measure:
    """How well the promise is kept now. Ages are in seconds; None: nothing of the kind."""

    oldest_unlooked_seconds: float | None
    open_notices: int
    parked_notices: int
    orders_with_problems: int
    ledger_lag_seconds: float | None


async def measure(db: Connection, stores: Sequence[Store]) -> Measure:
    """Measure it, the ledgers of these stores: one that is configured no more lags for ever and promises nothing.

    Every part reads a small partial index, whatever the tables have grown to.
    """
    row = await db.fetchrow(
        """
        SELECT (SELECT extract(epoch FROM now() - min(received_at))::float8 FROM notices
                 WHERE due_at IS NOT NULL AND tries = 0) AS oldest_unlooked_seconds,
               (SELECT count(*) FROM notices WHERE due_at IS NOT NULL) AS open_notices,
               (SELECT count(*) FROM notices WHERE parked_at IS NOT NULL) AS parked_notices,
               (SELECT count(*) FROM orders WHERE problems <> '[]'::jsonb) AS orders_with_problems,
               (SELECT extract(epoch FROM now() - min(coalesce(last_completed_at, since)))::float8 FROM ledger_scans
                 WHERE (account, tier) IN (SELECT * FROM unnest($1::text[], $2::text[]))) AS ledger_lag_seconds
        """,
        [store.account for store in stores],
        [store.tier for store in stores],
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return Measure(**row)
