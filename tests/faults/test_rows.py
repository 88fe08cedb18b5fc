"""Tests, the explorer and the fault runs refuse rows that only the service's code keeps out of its tables."""

import asyncpg
import pytest

from service.db.pool import Pool
from tests.service import stored


@pytest.mark.parametrize(
    "change", ["state = 'shipped'", "currency = 'krw'", "merchant_uid = repeat('가', 256)", "version = 0"]
)
async def test_a_row_that_no_code_may_write_is_refused(pool: Pool, change: str) -> None:
    """A test in which code writes a word, a number or a length that cannot be fails there."""
    await stored.register_order(pool, "order-1")
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE orders SET {change}")  # noqa: S608 - from this test
