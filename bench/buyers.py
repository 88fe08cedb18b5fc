"""Buyers, who lead one order after the other through its whole life, each in a closed loop.

An order is registered and confirmed; its webhook and its completion call come at the same moment, on two connections;
then it is read, and must be paid.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle

from bench.calls import COMPLETE, CONFIRM, READ_PAID, REGISTER, UNSURE, WEBHOOK, Call
from bench.load import ANSWER_SECONDS, Connection, Load, connect

Stages = tuple[tuple[Call, ...], ...]
WHOLE: Stages = ((REGISTER,), (CONFIRM,), (WEBHOOK, COMPLETE), (READ_PAID,))
# A shop need not be asked before a payment.
UNCONFIRMED: Stages = ((REGISTER,), (WEBHOOK, COMPLETE), (READ_PAID,))


class Buyers:
    """All buyers of a measurement. `lives` counts whole lives as 200, and an unsure confirmation as 424."""

    def __init__(self, numbers: Iterator[int], seconds: float, stages: Stages = WHOLE) -> None:
        self.lives, self.stages = Load(), stages
        self._numbers, self._seconds, self._deadline = numbers, seconds, 0.0
        self._ended = asyncio.Event()
        self._active: set[Buyer] = set()

    async def shop(self, port: int, users: int, *more_ports: int) -> Load:
        """Let that many buyers shop until the time is over and their last orders are read, or one answer is wrong.

        Each buyer's two connections lead to two receivers, if there are more ports.
        """
        buyers = tuple(Buyer(self) for _ in range(users))
        self._active, ports = set(buyers), (port, *more_ports)
        for buyer, pair in zip(buyers, cycle(zip(ports, (*more_ports, port), strict=True)), strict=False):
            await buyer.connect(*pair)
        began, self.lives.began_at = time.perf_counter(), time.time()
        self._deadline = began + self._seconds
        for buyer in buyers:
            buyer.begin()
        try:
            async with asyncio.timeout(self._seconds + ANSWER_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self.lives.statuses[0] += len(self._active)
        self.lives.seconds = time.perf_counter() - began
        for buyer in buyers:
            buyer.leave()
        return self.lives

    def next_number(self) -> int | None:
        """Return the number of the next order to buy, or None when the time is over."""
        return next(self._numbers, None) if time.perf_counter() < self._deadline else None

    def wrong(self, call: Call, status: int, body: bytes) -> None:
        """End all, because an answer was wrong."""
        self.lives.statuses[status if status != call.good else -1] += 1
        self.lives.wrong = self.lives.wrong or b"%s: %s" % (call.name.encode(), body)
        self._ended.set()

    def left(self, buyer: "Buyer") -> None:
        """End all when the last buyer has left."""
        self._active.discard(buyer)
        if not self._active:
            self._ended.set()


class Buyer:
    """One buyer, with a connection for the browser and one for PortOne's webhook."""

    def __init__(self, buyers: Buyers) -> None:
        self._buyers = buyers
        self._connections: list[Connection] = []
        self._number, self._began, self._stage, self._missing = 0, 0.0, 0, 0

    async def connect(self, *ports: int) -> None:
        self._connections = [await connect(port, self._then) for port in ports]

    def leave(self) -> None:
        for connection in self._connections:
            connection.busy = False
            connection.transport.abort()

    def begin(self) -> None:
        """Begin the life of the next order, if there is time for one."""
        number = self._buyers.next_number()
        if number is None:
            return self._buyers.left(self)
        self._number, self._began, self._stage = number, time.perf_counter(), 0
        return self._call()

    def _call(self) -> None:
        calls = self._buyers.stages[self._stage]
        self._missing = len(calls)
        for connection, call in zip(self._connections, calls, strict=False):
            connection.send(call.request(self._number), 0.0)

    def _then(self, connection: Connection, status: int, body: bytes) -> None:
        call = self._buyers.stages[self._stage][self._connections.index(connection)]
        lives = self._buyers.lives
        if status == UNSURE and call is CONFIRM:
            lives.statuses[UNSURE] += 1
            return self.begin()
        if status != call.good or call.contains not in body:
            return self._buyers.wrong(call, status, body)
        self._missing -= 1
        if self._missing:
            return None
        self._stage += 1
        if self._stage < len(self._buyers.stages):
            return self._call()
        lives.statuses[200] += 1
        lives.latencies.append(time.perf_counter() - self._began)
        return self.begin()
