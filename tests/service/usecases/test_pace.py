"""Deliveries are spread over time."""

import asyncio
import time

from service.usecases.endpoint_turn import Pace


async def test_no_more_than_the_rate_begin_in_a_second() -> None:
    """Many that wait at once begin one after the other, each a spacing later."""
    pace, began = Pace(1_000), time.monotonic()
    await asyncio.gather(*(pace.wait() for _ in range(51)))
    assert time.monotonic() - began >= 0.049


async def test_the_first_waits_for_nothing() -> None:
    """After a pause a delivery begins at once."""
    pace = Pace(0.001)
    async with asyncio.timeout(60):
        await pace.wait()
