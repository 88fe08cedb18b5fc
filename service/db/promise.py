"""The measure of the promise, read across the tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from service.db import problems
from service.db.pool import Connection
from service.domain.ownership import EVERYTHING, Ours
from service.domain.payment import Store

# Counts go no further than this, so that measuring stays cheap when a table of notices is full.
COUNTED_MAX = 100_000
# Each problem costs some steps in several indexes.
PROBLEMS_COUNTED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Measure:
    """The measure of how well the promise is kept now. Ages are in seconds; None if there is nothing of the kind.

    Counts end at COUNTED_MAX, those of problems and payments at PROBLEMS_COUNTED_MAX. `overdue_seconds` is how long the
    longest starved notice has been due; `unregistered_overdue_seconds` is the same of notices that name no registered
    order, which may be invented and raise no alarm. `parked_unregistered` are parked because nobody registered their
    order, which raises none either. `open_problems` are those of our own orders. `unregistered_payments` hold money of
    orders that nobody registered.
    """

    overdue_seconds: float | None
    unregistered_overdue_seconds: float | None
    open_notices: int
    parked_notices: int
    parked_unregistered: int
    open_problems: int
    unregistered_payments: int
    ledger_lag_seconds: float | None
    keys_refused: int


async def measure(db: Connection, stores: Sequence[Store], ours: Ours = EVERYTHING) -> Measure:
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
               (SELECT count(*) FROM (SELECT FROM notices WHERE parked_at IS NOT NULL
                                        AND last_outcome <> 'order_not_registered' LIMIT $3) AS parked)
                   AS parked_notices,
               (SELECT count(*) FROM (SELECT FROM notices WHERE parked_at IS NOT NULL LIMIT $3) AS parked)
                   AS all_parked,
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
    counts = await problems.count(db, ours, PROBLEMS_COUNTED_MAX)
    measured = dict(row)
    parked_unregistered = max(0, measured.pop("all_parked") - measured["parked_notices"])
    return Measure(**measured, parked_unregistered=parked_unregistered, **asdict(counts))
