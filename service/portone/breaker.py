"""A circuit breaker: after some failures in a row only a probe, now and then, reaches a PortOne that is down."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from service.domain.timetable import Timetable
from service.errors import PortOneUnavailable

# One slow answer is not an outage.
_FAILURES = 5

Result = TypeVar("Result")


class Breaker:
    """A circuit breaker. While open, it refuses at once; when its wait is over, it lets one probe through."""

    def __init__(self, times: Timetable, clock: Callable[[], float] = time.monotonic) -> None:
        self._times = times
        self._clock = clock
        self._failures = 0
        self._wait = timedelta()
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= _FAILURES and self._clock() < self._open_until

    async def call(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Ask, unless the breaker is open. Raises PortOneUnavailable at once if it is."""
        if self.is_open:
            raise PortOneUnavailable("it was down a moment ago, and is asked again shortly")
        if self._failures >= _FAILURES:
            # The wait is over: this call probes, and until it ends others are refused.
            self._open_until = self._clock() + self._wait.total_seconds()
        try:
            result = await ask()
        except (PortOneUnavailable, asyncio.CancelledError):  # cancelled: the caller's time ran out without an answer
            self._failed()
            raise
        self._failures = 0
        self._wait = timedelta()
        return result

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= _FAILURES:
            self._wait = min(max(self._wait * 2, self._times.probe_first), self._times.probe_last)
            self._open_until = self._clock() + self._wait.total_seconds()
