"""The breaker lets a PortOne that is down alone, and finds out when it is back."""

import asyncio

import pytest

from service.domain.timetable import Timetable
from service.errors import PortOneRefused, PortOneUnavailable
from service.portone.breaker import Breaker

TIMES = Timetable()


class Line:
    """A breaker with a clock of the test's own, and a PortOne behind it that answers or fails."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failure: BaseException | None = PortOneUnavailable()
        self.calls = 0
        self.breaker = Breaker(TIMES, lambda: self.now)

    async def ask(self) -> str:
        self.calls += 1
        if self.failure:
            raise self.failure
        return "answer"

    async def fails(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises((PortOneUnavailable, asyncio.CancelledError)):
                await self.breaker.call(self.ask)


async def test_it_opens_after_five_failures_in_a_row() -> None:
    """Four failures and an answer start the count again; after five no call is made."""
    line = Line()
    await line.fails(4)
    line.failure = None
    assert await line.breaker.call(line.ask) == "answer"
    line.failure = PortOneUnavailable()
    await line.fails(5)
    assert line.breaker.is_open
    await line.fails(3)
    assert line.calls == 4 + 1 + 5


async def test_a_probe_is_let_through_after_each_wait() -> None:
    """After the first wait one call goes through; each that fails doubles the wait, up to the longest."""
    line = Line()
    await line.fails(5)
    wait = TIMES.probe_first.total_seconds()
    for _ in range(10):
        line.now += wait - 0.001
        calls = line.calls
        await line.fails(1)
        assert line.calls == calls
        line.now += 0.001
        await line.fails(2)
        assert line.calls == calls + 1
        wait = min(wait * 2, TIMES.probe_last.total_seconds())
    assert wait == TIMES.probe_last.total_seconds()


async def test_only_one_call_probes() -> None:
    """While the probe is under way, others are refused; its answer lets all through again."""
    line = Line()
    await line.fails(5)
    line.now += TIMES.probe_first.total_seconds()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def probe() -> str:
        asked.set()
        await answered.wait()
        return "back"

    probing = asyncio.create_task(line.breaker.call(probe))
    await asked.wait()
    await line.fails(2)
    assert line.calls == 5
    answered.set()
    assert await probing == "back"
    line.failure = None
    assert await line.breaker.call(line.ask) == "answer"


async def test_an_asker_whose_time_ran_out_counts_as_a_failure() -> None:
    """A call that is cancelled had no answer either, and a refused key is an answer."""
    line = Line()
    line.failure = asyncio.CancelledError()
    await line.fails(5)
    assert line.breaker.is_open
    refused = Line()
    refused.failure = PortOneRefused()
    for _ in range(6):
        with pytest.raises(PortOneRefused):
            await refused.breaker.call(refused.ask)
    assert refused.calls == 6
