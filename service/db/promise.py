"""The measure of the promise, read across the tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.db.pool import Connection
from service.domain.payment import Store

# Counts go no further than this, so that measuring stays cheap when a table of notices is full.
COUNTED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Measure:
    """The measure of how well the promise is kept now. Ages are in seconds; None if there is nothing of the kind.

    Counts end at COUNTED_MAX. `overdue_seconds` is how long the longest starved notice has been
    due; `unregistered_overdue_seconds` is the same of notices that name no registered order, which may be invented and
    raise no alarm.
    """

    overdue_seconds: float | None
    unregistered_overdue_seconds: float | None
    open_notices: int
    parked_notices: int
    orders_with_problems: int
    ledger_lag_seconds: float | None
    keys_refused: int


async def measure(db: Connection, stores: Sequence[Store]) -> Measure:
    """Measure the promise. Only the ledgers of these stores count: one that was removed would lag for ever.

    Every part reads a small partial index, however large the tables are.
    """
    row = await db.fetchrow(
        """
        SELECT (SELECT extract(epoch FROM now() - min(due_at))::float8 FROM (
                   (SELECT due_at FROM notices WHERE lane = 0 AND due_at < now() ORDER BY due_at LIMIT 1)
                   UNION ALL
                   (SELECT due_at FROM notices WHERE lane = 1 AND due_at < now() ORDER BY due_at LIMIT 1)) AS overdue)
                   AS overdue_seconds,
               (SELECT extract(epoch FROM now() - min(due_at))::float8 FROM notices WHERE lane = 2 AND due_at < now())
                   AS unregistered_overdue_seconds,
               (SELECT count(*) FROM (SELECT FROM notices WHERE due_at IS NOT NULL LIMIT $3) AS open) AS open_notices,
               (SELECT count(*) FROM (SELECT FROM notices WHERE parked_at IS NOT NULL LIMIT $3) AS parked)
                   AS parked_notices,
               (SELECT count(*) FROM (SELECT FROM orders WHERE problems <> '[]'::jsonb LIMIT $3) AS problems)
                   AS orders_with_problems,
               (SELECT extract(epoch FROM now() - min(coalesce(last_completed_at, since)))::float8 FROM ledger_scans
                 WHERE (account, tier) IN (SELECT * FROM unnest($1::text[], $2::text[]))) AS ledger_lag_seconds,
               (SELECT count(DISTINCT account) FROM processes, jsonb_object_keys(refused_accounts) AS account
                 WHERE seen_at > now() - interval '1 minute') AS keys_refused
        """,
        [store.account for store in stores],
        [store.tier for store in stores],
        COUNTED_MAX,
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM gives one row
    return Measure(**row)
