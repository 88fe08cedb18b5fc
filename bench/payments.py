"""Payments at a fixed rate, whatever the service does, for as long as a measurement lasts (an open loop).

Each payment has a webhook. One in `Traffic.one_in` also has a buyer who comes back: the completion call comes at the
same moment, on another connection, and the order is read when it is answered. Orders are registered in batches, before
the first payment, and beside the payments only where those run out. Waiting for a free connection counts as latency,
and a connection that is lost costs its request and is made again.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import psutil

from bench import load, orders
from bench.calls import COMPLETE, READ, READ_PAID, WEBHOOK
from bench.load import ANSWER_SECONDS, Connection
from bench.systems import SERVICE_KEY

KINDS = ("register", "webhook", "complete", "read")
_BATCH = 100
# Of each batch the receiver registers a bounded number at a time, so that more at once would only wait.
_BATCHES_AT_ONCE = 8
_REGISTER_SECONDS = 300.0
# Where the orders run out, one is registered at least this long before it is paid.
_AHEAD_SECONDS = 5.0
_CONNECTIONS_MAX = 1024
_KEY = f"Authorization: Bearer {SERVICE_KEY}\r\n"
_LOST = 0


@dataclass
class Tally:
    """The answers of one kind: statuses (0 is a connection that was refused, lost or silent), and latencies."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """The number of requests that were not done, whoever refused them."""
        return sum(number for status, number in self.statuses.items() if not 200 <= status < 300)


@dataclass
class Phase:
    """A part of the measurement. A request belongs to the phase in which it was due, whenever it is answered."""

    name: str
    began: float
    seconds: float = 0.0
    calls: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    # Reads that did not say paid, although the completion before them had a verified answer.
    stale: int = 0
    # How many cores of the machine were busy, whoever used them, and how many each part used.
    cores_busy: float = 0.0
    cores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Traffic:
    """The payments a second; one in how many has a buyer who comes back; and how many orders are registered before."""

    rate: float
    one_in: int = 1
    registered: int = 0


@dataclass
class _Request:
    tally: Tally
    content: bytes
    due: float
    then: Callable[[int, bytes], None] | None = None


class Payments:
    """The load. `sent` counts the payments, whose orders are numbered from FIRST_NEW on."""

    def __init__(self, port: int, traffic: Traffic) -> None:
        self.phases: list[Phase] = []
        self.sent = 0
        self._port, self._traffic = port, traffic
        self._registered = 0
        self._idle: deque[Connection] = deque()
        self._waiting: deque[_Request] = deque()
        self._under_way: dict[Connection, _Request] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    def enter(self, name: str) -> None:
        """Begin a phase, which ends the one before."""
        self._leave()
        self.phases.append(Phase(name, time.perf_counter()))

    def _leave(self) -> None:
        busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        if self.phases:
            self.phases[-1].seconds = time.perf_counter() - self.phases[-1].began
            self.phases[-1].cores_busy = busy

    async def begin(self) -> None:
        """Register the first orders, and begin to pay."""
        self.enter("register")
        for _ in range(_BATCHES_AT_ONCE):
            self._register(self._register_more)
        await self._answered_all(_REGISTER_SECONDS)
        self._running = asyncio.create_task(self._pay())

    async def end(self) -> None:
        """Stop paying, and wait for the answers that are missing. Those that do not come count as lost."""
        if self._running:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        await self._answered_all()
        self._leave()
        for connection in (*self._idle, *self._under_way):
            connection.busy = False
            connection.transport.abort()

    async def _pay(self) -> None:
        began = time.perf_counter()
        for index in count():
            due = began + index / self._traffic.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            number = orders.FIRST_NEW + self.sent
            self.sent += 1
            calls = self.phases[-1].calls
            self._send(_Request(calls["webhook"], WEBHOOK.request(number), due))
            if index % self._traffic.one_in == 0:
                then = partial(self._read, number)
                self._send(_Request(calls["complete"], COMPLETE.request(number), due, then))
            if self._registered - self.sent < self._ahead:
                self._register()

    def _read(self, number: int, completed: int, _: bytes) -> None:
        """Read the order whose completion was answered with this status."""
        phase = self.phases[-1]

        def check(status: int, body: bytes) -> None:
            phase.stale += completed == COMPLETE.good and status == READ_PAID.good and READ_PAID.contains not in body

        self._send(_Request(phase.calls["read"], READ.request(number), time.perf_counter(), check))

    @property
    def _ahead(self) -> float:
        return self._traffic.rate * _AHEAD_SECONDS

    def _register_more(self, _: int, __: bytes) -> None:
        """Register the next batch when one is done, until there are as many orders as there are to be."""
        if self._registered < max(self._traffic.registered, self._ahead):
            self._register(self._register_more)

    def _register(self, then: Callable[[int, bytes], None] | None = None) -> None:
        """Register the next orders, as one batch."""
        first = orders.FIRST_NEW + self._registered
        self._registered += _BATCH
        body = b'{"orders":[%s]}' % b",".join(orders.registration(first + n) for n in range(_BATCH))
        request = load.post("/orders:batch", body, _KEY)
        self._send(_Request(self.phases[-1].calls["register"], request, time.perf_counter(), then))

    def _send(self, request: _Request) -> None:
        if connection := load.take_open(self._idle):
            self._put(connection, request)
        else:
            self._waiting.append(request)
            self._grow()

    def _grow(self) -> None:
        """Connect once more, for a request that waits."""
        if len(self._under_way) + len(self._connecting) < _CONNECTIONS_MAX:
            task = asyncio.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _put(self, connection: Connection, request: _Request) -> None:
        self._under_way[connection] = request
        connection.send(request.content, request.due)

    async def _connect(self) -> None:
        try:
            connection = await load.connect(self._port, self._answered)
        except OSError:
            if self._waiting:
                self._count(self._waiting.popleft(), _LOST, b"")
            return
        self._use(connection)

    def _use(self, connection: Connection) -> None:
        """Let a free connection send what has waited longest."""
        if self._waiting:
            self._put(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        request = self._under_way.pop(connection)
        if status:
            self._use(connection)
        elif self._waiting:
            self._grow()
        self._count(request, status, body)

    def _count(self, request: _Request, status: int, body: bytes) -> None:
        request.tally.statuses[status] += 1
        request.tally.seconds.append(time.perf_counter() - request.due)
        if request.then:
            request.then(status, body)

    async def _answered_all(self, seconds: float = ANSWER_SECONDS) -> None:
        deadline = time.perf_counter() + seconds
        while self._under_way or self._waiting:
            if time.perf_counter() > deadline:
                for request in (*self._under_way.values(), *self._waiting):
                    request.tally.statuses[_LOST] += 1
                return
            await asyncio.sleep(0.01)
