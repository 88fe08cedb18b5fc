"""Outgoing webhooks: tell each endpoint of each change (docs/decisions/0024-keep-a-cursor-and-the-late-orders.md).

Workers share the endpoints turn by turn. Everything that must not be lost stands in Postgres: a worker that is killed
in the middle of a turn leaves its deliveries to be made again, in the same order.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import zip_longest

import structlog

from service.db import deliveries, feed
from service.db.deliveries import ClaimedTurn, LateOrder, TurnResult
from service.db.feed import FeedEvent
from service.db.pool import Connection, Pool, in_statement, in_transaction, in_transaction_on, one_connection
from service.domain.delivery import Disabled, is_down, wait_for_probe
from service.domain.feed_horizon import Horizon
from service.domain.timetable import Timetable
from service.errors import PostgresUnavailable
from service.outgoing.sender import Sender
from service.tracing import Tracing
from service.usecases.endpoint_turn import DeliveryBounds, EndpointTurn, Pace, Stream

log = structlog.get_logger()

# Turns of this worker at once, each at another endpoint.
_TURNS_MAX = 8
# A turn reads at most this many events from the cursor on, late orders, and events of those.
_EVENTS_A_TURN = 500
_LATE_A_TURN = 200
_LATE_EVENTS_A_TURN = 500
# A worker's deliveries a second: they share a processor with its verification, which must not wait for a backlog.
_PER_SECOND = 2_000
# An endpoint that is down is asked this much.
_PROBES = 4
# A turn takes 2 s and some patience, and its end waits for Postgres for some seconds.
_LEASE = timedelta(seconds=20)
# The next turn at an endpoint where slow deliveries have all places.
_FULL_WAIT = timedelta(seconds=0.25)
_STOP_SECONDS = 4.0


class Deliverer:
    """Takes turns at endpoints. `reading` is a pool of one connection, because a horizon holds within one session."""

    def __init__(
        self,
        reading: Pool,
        writing: Pool,
        sender: Sender,
        times: Timetable,
        bounds: DeliveryBounds,
        tracing: Tracing | None = None,
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._sender = sender
        self._times = times
        self._bounds = bounds
        self._tracing = tracing
        self._horizon = Horizon()
        self._pace = Pace(_PER_SECOND)
        self._turns: set[asyncio.Task[None]] = set()
        # Deliveries that outlast their turns, by endpoint.
        self._slow: dict[asyncio.Task[None], str] = {}
        # Set when there may be work: by whoever hears of a change, and by a turn that has ended.
        self.woken = asyncio.Event()

    async def has_endpoints(self) -> bool:
        """Return whether there is anybody to tell. Raises PostgresUnavailable."""
        return await in_statement(self._writing, deliveries.has_endpoints)

    async def take_turns(self) -> bool:
        """Begin a turn at each endpoint that has work. Return whether to look again soon.

        Raises PostgresUnavailable.
        """
        free = _TURNS_MAX - len(self._turns)
        if free <= 0:
            return False
        async with one_connection(self._reading) as connection:
            begun = await in_transaction_on(connection, self._begin_turns, free)
        for turn in begun:
            task = asyncio.create_task(self._take(turn))
            self._turns.add(task)
            task.add_done_callback(self._forget_turn)
        return self._horizon.is_behind

    async def close(self) -> None:
        """Let what is under way end, for some seconds. What does not is delivered again."""
        for under_way in (self._turns, self._slow):  # in this order, because a turn leaves its slow deliveries
            if tasks := set(under_way):
                _, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _begin_turns(self, db: Connection, free: int) -> list[EndpointTurn]:
        """Claim turns, and read what each is to send. The statements come in this order, so that no event is missed."""
        upto = self._horizon.observe(await feed.position(db))
        if upto is None:
            return []
        claims = await deliveries.claim(db, upto, free, _LEASE)
        return [await self._read(db, claim, upto) for claim in claims]

    async def _read(self, db: Connection, claim: ClaimedTurn, upto: int) -> EndpointTurn:
        probes = _PROBES if is_down(claim.failures) else None
        events = await feed.events(db, claim.told_to, upto, probes or _EVENTS_A_TURN)
        late = await deliveries.due_late_orders(db, claim.name, probes or _LATE_A_TURN)
        is_late = await deliveries.late_among(db, claim.name, sorted({event.merchant_uid for event in events}))
        read_to = events[-1].id if events else claim.told_to
        new = _streams([event for event in events if event.merchant_uid not in is_late], claim.types)
        old = await _late_streams(db, late, read_to, claim.types)
        streams = [stream for pair in zip_longest(old, new) for stream in pair if stream]
        return EndpointTurn(
            claim, streams, read_to, self._sender, self._bounds, self._pace, self._end_slow, self._tracing
        )

    async def _take(self, turn: EndpointTurn) -> None:
        """Run a turn to its end. Whatever fails, the endpoint's next turn comes when the claim has run out."""
        name = turn.claim.name
        try:
            places = self._bounds.at_once - Counter(self._slow.values())[name]
            for task in await turn.run(places):
                self._slow[task] = name
                task.add_done_callback(self._slow.pop)
            result = turn.result()
            wait, disabled = self._verdict(turn, result, places)
            turn.is_written = await in_transaction(self._writing, _end, turn.claim, result, wait, disabled)
        except PostgresUnavailable as error:
            log.warning("endpoint.turn_not_written", endpoint=name, reason=str(error))
        except Exception:
            log.exception("endpoint.turn_failed", endpoint=name)
        else:
            _log_turn(turn, result, disabled)
        finally:
            turn.ended.set()

    def _verdict(self, turn: EndpointTurn, result: TurnResult, places: int) -> tuple[timedelta, Disabled | None]:
        """Return the wait until the endpoint's next turn, and why it is to be disabled, if it is."""
        claim, times = turn.claim, self._times
        if turn.is_gone:
            return timedelta(), Disabled.GONE
        if result.delivered:
            return timedelta(), None
        if result.failed and claim.failing >= times.endpoint_failing:
            return timedelta(), Disabled.FAILING
        if is_down(claim.failures + result.failed):
            return wait_for_probe(claim.failing, times.probe_endpoint_first, times.probe_endpoint_last), None
        return (timedelta() if places > 0 else _FULL_WAIT), None

    async def _end_slow(self, turn: EndpointTurn, stream: Stream) -> None:
        """Write what came of a delivery that outlasted its turn. If that fails, it is made again after its claim."""
        await turn.ended.wait()
        try:
            if turn.is_written:
                await in_transaction(self._writing, deliveries.end_slow, turn.claim, turn.result_of(stream))
        except PostgresUnavailable as error:
            log.warning("endpoint.delivery_not_written", endpoint=turn.claim.name, reason=str(error))
        self.woken.set()

    def _forget_turn(self, task: asyncio.Task[None]) -> None:
        self._turns.discard(task)
        self.woken.set()


async def _end(
    db: Connection, claim: ClaimedTurn, result: TurnResult, wait: timedelta, disabled: Disabled | None
) -> bool:
    is_written = await deliveries.end_turn(db, claim, result, wait, disabled)
    if is_written and result.delivered and is_down(claim.failures):
        await deliveries.make_due(db, claim.name)
    return is_written


def _streams(events: Sequence[FeedEvent], types: frozenset[str]) -> list[Stream]:
    """Return a stream for each order, in the order of their first events."""
    return [Stream(merchant_uid, of_order) for merchant_uid, of_order in _by_order(events, types).items()]


def _by_order(events: Sequence[FeedEvent], types: frozenset[str]) -> dict[str, list[FeedEvent]]:
    """Return each order's events that an endpoint wants; of every type if it names none."""
    by_order: dict[str, list[FeedEvent]] = {}
    for event in events:
        if not types or event.type in types:
            by_order.setdefault(event.merchant_uid, []).append(event)
    return by_order


async def _late_streams(db: Connection, late: Sequence[LateOrder], read_to: int, types: frozenset[str]) -> list[Stream]:
    """Return a stream for each late order: its events up to where the cursor will be, as far as they can be read."""
    if not late:
        return []
    first = min(order.next_event for order in late)
    events = await feed.events_of(db, [order.merchant_uid for order in late], first - 1, read_to, _LATE_EVENTS_A_TURN)
    is_complete = len(events) < _LATE_EVENTS_A_TURN
    by_order = _by_order(events, types)

    def stream(order: LateOrder) -> Stream:
        left = [event for event in by_order.get(order.merchant_uid, ()) if event.id >= order.next_event]
        return Stream(order.merchant_uid, left, order, read_to if is_complete else events[-1].id, is_complete)

    return [stream(order) for order in late]


def _log_turn(turn: EndpointTurn, result: TurnResult, disabled: Disabled | None) -> None:
    name = turn.claim.name
    if not turn.is_written:
        log.warning("endpoint.turn_lost", endpoint=name)
        return
    if result.attempts:
        orders = sorted({logged.merchant_uid for logged in result.attempts})
        log.info("endpoint.told", endpoint=name, delivered=result.delivered, failed=result.failed, orders=orders)
    if result.given_up:
        log.error("endpoint.events_given_up", endpoint=name, count=result.given_up)
    if disabled:
        log.error("endpoint.disabled", endpoint=name, reason=disabled.value)
