"""The load generator: raw HTTP/1.1 over persistent connections, with one request at a time on each.

In a closed loop each connection sends its next request as soon as it has its answer. In an open loop requests leave at
fixed times whatever the server does, and waiting for a free connection counts as latency.
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CONNECTIONS_MAX = 1024
# A request without an answer after this has failed.
ANSWER_SECONDS = 40.0


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """Return a complete request as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
    return b"%sContent-Length: %d\r\n\r\n%s" % (head.encode(), len(body), body)


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


@dataclass
class Load:
    """The result of a load. `seconds` lasts from the first request, at wall clock `began_at`, to the last answer."""

    # The status of an answer that did what was asked.
    good: int = 200
    seconds: float = 0.0
    began_at: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    # The wall clock when each request of an open loop was sent, by its index.
    sent_at: list[float] = field(default_factory=list)
    wrong: bytes = b""

    @property
    def answered(self) -> int:
        return self.statuses[self.good]

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """The number of requests without a good answer. Status 0 means a connection that broke or fell silent."""
        return sum(self.statuses.values()) - self.answered

    def figures(self) -> dict[str, float]:
        """Return the rate, the failures and the latencies."""
        return {"per_second": self.per_second, "failed": self.failed} | quantiles(self.latencies)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {f"p{q}_ms": 1000 * ordered[round(last * q / 100)] for q in (50, 99)}


class Connection(asyncio.Protocol):
    """A connection. `then` is called with the status and body of each answer; status 0 means that it is lost."""

    def __init__(self, then: Callable[["Connection", int, bytes], None]) -> None:
        self._then = then
        self._received = b""
        self.began = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass

    def send(self, request: bytes, began: float) -> None:
        self.began, self.busy = began, True
        if self.transport.is_closing():  # the server has refused the connection, and nothing more will come
            asyncio.get_running_loop().call_soon(self.connection_lost, None)
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._received, 0, end)
        total = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < total:
            return
        status, body = int(self._received[9:12]), self._received[end + 4 : total]
        self._received, self.busy = b"", False
        self._then(self, status, body)

    def connection_lost(self, error: Exception | None) -> None:
        if self.busy:
            self.busy = False
            self._then(self, 0, b"")


async def connect(port: int, then: Callable[[Connection, int, bytes], None]) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(then), "127.0.0.1", port)
    return connection


async def ask(port: int, request: bytes) -> bytes:
    """Send a request on its own connection, and return the body of the answer."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection = await connect(port, lambda _, __, body: answer.set_result(body))
    connection.send(request, 0.0)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer
    finally:
        connection.transport.abort()


async def closed_loop(
    port: int,
    connections: int,
    requests: Iterator[bytes],
    seconds: float | None = None,
    good: int = 200,
    started: asyncio.Event | None = None,
) -> Load:
    """Send the requests as fast as they are answered, until they or the seconds run out.

    `started` is set when every connection has sent its first request.
    """
    load, done = Load(good), asyncio.Event()
    clock = time.perf_counter
    latencies, statuses, under_way, deadline = load.latencies, load.statuses, 0, 0.0

    def then(connection: Connection, status: int, body: bytes) -> None:
        nonlocal under_way
        now = clock()
        latencies.append(now - connection.began)
        statuses[status] += 1
        if status != good:
            load.wrong = load.wrong or body
        request = next(requests, None) if status and now < deadline else None
        if request is not None:
            return connection.send(request, now)
        under_way -= 1
        if not under_way:
            done.set()
        return None

    pool = [await connect(port, then) for _ in range(connections)]
    began, load.began_at = clock(), time.time()
    deadline = began + seconds if seconds else float("inf")
    for connection, request in zip(pool, requests, strict=False):
        under_way += 1
        connection.send(request, clock())
    if started:
        started.set()
    await _until(done, load, lambda: under_way, (seconds or 120.0) + ANSWER_SECONDS)
    load.seconds = clock() - began
    _close(pool)
    return load


async def open_loop(
    port: int, rate: float, requests: list[bytes], at: Callable[[int], float] | None = None, good: int = 200
) -> Load:
    """Send request i at second `at(i)`, by default evenly at the rate. Latency counts from that time."""
    load, done = Load(good), asyncio.Event()
    load.sent_at = [0.0] * len(requests)
    idle: deque[Connection] = deque()
    waiting: deque[tuple[float, bytes]] = deque()
    left = len(requests)

    def then(connection: Connection, status: int, body: bytes) -> None:
        nonlocal left
        load.latencies.append(time.perf_counter() - connection.began)
        load.statuses[status] += 1
        if status != good:
            load.wrong = load.wrong or body
        left -= 1
        if not left:
            done.set()
        if status and waiting:
            due, request = waiting.popleft()
            connection.send(request, due)
        elif status:
            idle.append(connection)

    def send(index: int, due: float) -> None:
        load.sent_at[index] = time.time()
        if connection := take_open(idle):
            connection.send(requests[index], due)
        else:
            waiting.append((due, requests[index]))

    pool = [await connect(port, then) for _ in range(min(_CONNECTIONS_MAX, max(16, int(rate / 10))))]
    idle.extend(pool)
    began = time.perf_counter()
    times = [began + (at(index) if at else index / rate) for index in range(len(requests))]
    for index in sorted(range(len(requests)), key=times.__getitem__):
        ahead = times[index] - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        send(index, times[index])
    await _until(done, load, lambda: left, ANSWER_SECONDS)
    load.seconds = time.perf_counter() - began
    _close(pool)
    return load


def take_open(idle: deque[Connection]) -> Connection | None:
    """Take an idle connection, if any is open: a server may close those that say nothing for long."""
    while idle:
        if not (connection := idle.pop()).transport.is_closing():
            return connection
    return None


async def _until(done: asyncio.Event, load: Load, missing: Callable[[], int], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        load.statuses[0] += missing()


def _close(pool: list[Connection]) -> None:
    for connection in pool:
        connection.busy = False
        connection.transport.abort()
