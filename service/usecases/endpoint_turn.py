"""One turn at an endpoint: send what is due, in order for each order, and say how far that came.

A turn has streams, one for each order: the order's events, sent one after the other. Some dozen streams are under way
at once, and a stream that fails or is slow ends alone. Nothing is written for each event: the endpoint's cursor moves
past the whole batch, and only orders that stay behind get a row
(docs/decisions/0024-keep-a-cursor-and-the-late-orders.md).
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from service.db.deliveries import ClaimedTurn, LateOrder, LoggedAttempt, MovedOrder, TurnResult
from service.db.feed import FeedEvent
from service.domain.delivery import DOWN_AFTER, DeliveryAttempt, patience_seconds, wait_before
from service.domain.feed_cursor import cursor_of
from service.domain.order import State
from service.domain.signing import signed_headers
from service.outgoing.sender import Sender
from service.tracing import Tracing
from service.usecases.feed_head import event_fields

TEST_TYPE = "endpoint.test"
# A turn begins no delivery after this, so that its end is never far.
_TURN_SECONDS = 2.0
# A turn looks this often for deliveries that are slow. They hold it up no longer, and linger beside the next ones.
_LOOK_SECONDS = 0.1
# The claim of a delivery that lingers outlasts its time-out by this.
_LINGERING_MARGIN = timedelta(seconds=10)


@dataclass
class Stream:
    """The events of one order that are to be sent, and how far that came. `late`: the order's row, if it has one."""

    merchant_uid: str
    events: Sequence[FeedEvent]
    late: LateOrder | None = None
    # Of a late order: its events were read up to this one, and whether that was as far as is due.
    read_to: int = 0
    is_complete: bool = True
    sent: int = 0
    tries: int = 0
    given_up: int = 0
    wait: timedelta = timedelta()
    is_begun: bool = False
    in_flight_since: float | None = None

    def __post_init__(self) -> None:
        self.tries = self.late.tries if self.late else 0

    @property
    def is_sent(self) -> bool:
        return self.sent == len(self.events)

    def is_done(self, told_to: int) -> bool:
        """Return whether the endpoint's cursor alone says where the order stands, once it has moved to `told_to`."""
        return self.is_sent and self.is_complete and (not self.events or self.events[-1].id <= told_to)

    def moved(self, lingering: timedelta) -> MovedOrder:
        """Return where the order stands. `lingering`: how long a delivery that is under way may still take."""
        is_under_way = self.in_flight_since is not None
        replays = self.late.replays if self.late else 0
        order = LateOrder(self.merchant_uid, self._next_event(), self.tries, replays)
        return MovedOrder(order, lingering if is_under_way else self.wait, is_under_way)

    def _next_event(self) -> int:
        """Return the id of the first event that was not delivered, or one that nothing undelivered precedes."""
        if not self.is_sent:
            return self.events[self.sent].id
        if self.late:
            return max(self.late.next_event, self.read_to + 1)
        return self.events[-1].id + 1

    def note(self, attempt: DeliveryAttempt, schedule: Sequence[timedelta]) -> bool:
        """Take in what came of an attempt at the next event. Return whether the one after it may be sent."""
        wait: timedelta | None = timedelta()
        if not attempt.is_delivered:
            wait = wait_before(schedule, self.tries + 1, random.random(), attempt.retry_after)  # noqa: S311 - a jitter
            self.given_up += wait is None
        if attempt.is_delivered or wait is None:
            self.sent, self.tries = self.sent + 1, 0
            return True
        self.tries, self.wait = self.tries + 1, wait
        return False


@dataclass(frozen=True, slots=True)
class DeliveryBounds:
    """The waits after failures, how long an attempt may take, and how many may be under way at one endpoint."""

    schedule: Sequence[timedelta]
    timeout: timedelta
    at_once: int


class Pace:
    """Spreads deliveries over time: each waits for its turn, so that no more than the rate begin in a second."""

    def __init__(self, per_second: float) -> None:
        self._spacing = 1 / per_second
        self._next_at = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        self._next_at = max(self._next_at, now) + self._spacing
        if (wait := self._next_at - now - self._spacing) > 0:
            await asyncio.sleep(wait)


class EndpointTurn:
    """A turn under way. `run` it, then write its `result`. Streams that linger are given to `on_lingered` one by one.

    `read_to` is the last event that was read from the endpoint's cursor on.
    """

    def __init__(
        self,
        claim: ClaimedTurn,
        streams: Sequence[Stream],
        read_to: int,
        sender: Sender,
        bounds: DeliveryBounds,
        pace: Pace,
        on_lingered: Callable[["EndpointTurn", Stream], Awaitable[None]],
        tracing: Tracing | None = None,
    ) -> None:
        self.claim = claim
        self.is_gone = False
        self.is_written = False
        self.ended = asyncio.Event()
        self._streams = streams
        self._read_to = read_to
        self._sender = sender
        self._bounds = bounds
        self._pace = pace
        self._on_lingered = on_lingered
        self._tracing = tracing
        self._attempts: list[LoggedAttempt] = []
        self._is_over = False
        self._lingering: set[str] = set()
        self._delivered = self._failed = 0

    async def run(self, places: int) -> set[asyncio.Task[None]]:
        """Send until all is sent, the time is over, or only slow deliveries are left; return those."""
        waiting = deque(self._streams)
        began = time.monotonic()
        running = {asyncio.create_task(self._send_streams(waiting)) for _ in range(min(places, len(waiting)))}
        while running:
            _, running = await asyncio.wait(running, timeout=_LOOK_SECONDS)
            now = time.monotonic()
            self._is_over = self._is_over or now - began > _TURN_SECONDS
            patience = patience_seconds([logged.attempt.seconds for logged in self._attempts])
            slow = [s for s in self._streams if s.in_flight_since and now - s.in_flight_since > patience]
            if len(slow) >= len(running):
                break
        self._is_over = True
        return running

    @property
    def is_down(self) -> bool:
        """Return whether nothing but failures came of the turn, and enough of them."""
        return not self._delivered and self._failed >= DOWN_AFTER

    def result(self) -> TurnResult:
        """Return what came of the turn. Streams that never began keep the cursor before them."""
        unread = [s.events[0].id for s in self._streams if not s.is_begun and not s.late]
        told_to = min([self._read_to, *(event_id - 1 for event_id in unread)])
        begun = [stream for stream in self._streams if stream.is_begun]
        self._lingering = {stream.merchant_uid for stream in begun if stream.in_flight_since is not None}
        return TurnResult(
            told_to,
            [stream.moved(self._bounds.timeout + _LINGERING_MARGIN) for stream in begun if not stream.is_done(told_to)],
            [stream.late for stream in begun if stream.late and stream.is_done(told_to)],
            self._taken_attempts(),
            self._taken_given_up(begun),
        )

    def result_of(self, stream: Stream) -> TurnResult:
        """Return what came of a stream that lingered."""
        return TurnResult(0, [stream.moved(timedelta())], [], self._taken_attempts(), self._taken_given_up([stream]))

    def _taken_attempts(self) -> list[LoggedAttempt]:
        taken, self._attempts = self._attempts, []
        return taken

    def _taken_given_up(self, streams: Sequence[Stream]) -> int:
        count = sum(stream.given_up for stream in streams)
        for stream in streams:
            stream.given_up = 0
        return count

    async def _send_streams(self, waiting: deque[Stream]) -> None:
        while waiting and not self._has_ended():
            stream = waiting.popleft()
            await self._send_stream(stream)
            if stream.merchant_uid in self._lingering:
                await self._on_lingered(self, stream)

    async def _send_stream(self, stream: Stream) -> None:
        stream.is_begun = stream.is_sent  # nothing is left of its order
        while not stream.is_sent:
            await self._pace.wait()
            if self._has_ended():
                break
            stream.is_begun = True
            event = stream.events[stream.sent]
            at, stream.in_flight_since = datetime.now(UTC), time.monotonic()
            attempt = await self._send(event, at)
            stream.in_flight_since = None
            if self._tracing:
                self._tracing.delivered(self.claim.name, event, at, attempt)
            self._attempts.append(LoggedAttempt(event.id, event.merchant_uid, at, attempt))
            self._delivered += attempt.is_delivered
            self._failed += not attempt.is_delivered
            self.is_gone = self.is_gone or attempt.is_gone
            if not stream.note(attempt, self._bounds.schedule):
                break

    def _has_ended(self) -> bool:
        return self._is_over or self.is_gone or self.is_down

    async def _send(self, event: FeedEvent, at: datetime) -> DeliveryAttempt:
        body = event_message(event)
        headers = signed_headers(self.claim.secrets, cursor_of(event.id), int(at.timestamp()), body)
        if self._tracing and event.notice_id:
            headers |= self._tracing.headers(event.notice_id)
        return await self._sender.send(self.claim.url, headers, body)


def event_message(event: FeedEvent) -> bytes:
    """Return the body of a webhook: the event's type and time, and the event as the feed shows it."""
    return _message(event_fields(event))


def message_of_test(message_id: str, at: datetime) -> bytes:
    """Return the body of a test: a webhook like any other, of an order that nobody pays and with an id of its own."""
    event = FeedEvent(
        id=0, type=TEST_TYPE, merchant_uid=TEST_TYPE, version=1, state=State.PENDING, closed=None, amount=1,
        currency="KRW", paid_amount=0, cancelled_amount=0, imp_uid=None, problems=(), account="", at=at,
    )  # fmt: skip
    return _message(event_fields(event) | {"id": message_id})


def _message(fields: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": fields["type"], "timestamp": fields["at"], "data": fields})
