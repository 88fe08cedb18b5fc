"""The first page's numbers are read from a bounded number of rows, once for all who look."""

import pytest

from service.db import today
from service.db.pool import Pool, in_snapshot
from tests.service import stored


async def test_counts_say_whether_they_are_whole(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that wait are counted up to a bound, and the count says so beyond it."""
    for number in range(6):
        await stored.register_order(pool, f"order-{number}")
    waiting = await in_snapshot(pool, today.waiting_orders)
    assert (waiting.count, waiting.is_whole) == (6, True)
    monkeypatch.setattr(today, "WAITING_READ_MAX", 3)
    bounded = await in_snapshot(pool, today.waiting_orders)
    assert (bounded.count, bounded.is_whole) == (3, False)
