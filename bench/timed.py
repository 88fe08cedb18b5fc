"""Do one thing again and again, and return how long it takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_UNCOUNTED = 3


async def timed(
    name: str, times: int, work: Callable[[], Awaitable[None]], *, pause_seconds: float = 0.0
) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds. The first few, which plan statements, do not count."""
    seconds = []
    for number in range(_UNCOUNTED + times):
        if number >= _UNCOUNTED:
            await asyncio.sleep(pause_seconds)
        began = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - began)
    ordered = sorted(seconds[_UNCOUNTED:])
    return {f"{name}_p{q}_ms": 1000 * ordered[round((times - 1) * q / 100)] for q in (50, 95)}
