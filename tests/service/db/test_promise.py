"""The promise's measures include work that has never been done."""

from service.db import promise
from service.db.pool import Pool, in_transaction
from service.domain.payment import Store


async def test_a_ledger_that_was_never_walked_lags_since_it_was_heard_of(pool: Pool) -> None:
    """A ledger that was never walked lags since its account was configured."""
    await pool.execute(
        "INSERT INTO ledger_scans (account, tier, since, last_completed_at)"
        " VALUES ('default', '', now() - interval '2 days', now()), ('new', '', now() - interval '1 hour', NULL)"
    )

    async def lag(*accounts: str) -> float | None:
        stores = [Store(account) for account in accounts]
        return (await in_transaction(pool, promise.measure, stores)).ledger_lag_seconds

    assert await lag() is None
    assert 0 <= (await lag("default") or 0) < 60
    assert 3600 <= (await lag("default", "new") or 0) < 3700
