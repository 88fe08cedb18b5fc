"""A record of what happens to the orders that somebody watches, in memory and bounded. No I/O; the clock is given.

Nothing is recorded for an order that nobody watches, so that a benchmark's payments cost one dictionary look-up.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_ORDERS = 200
MOST_EVENTS = 500  # of one order; a browser's payment makes about 20

Evidence = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `number` orders all events as they were recorded; `at` says when they happened."""

    number: int
    at: float
    """Seconds since 1970. An event that was learnt of late has an earlier time than its number suggests."""
    merchant_uid: str
    kind: str
    """For example `payment.changed` or `webhook.sent`."""
    evidence: Evidence


@dataclass(slots=True)
class _Story:
    """The events of one order, and what wakes those who wait for the next."""

    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    more: asyncio.Event = field(default_factory=asyncio.Event)


class Journal:
    """The events of the watched orders. The order that was watched first is forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stories: OrderedDict[str, _Story] = OrderedDict()
        self._last_number = 0
        self.listeners: list[Callable[[Event], None]] = []
        """Called with each event after it was recorded."""

    @property
    def watches_any(self) -> bool:
        """Return whether any order is watched at all."""
        return bool(self._stories)

    def watches(self, merchant_uid: object) -> bool:
        """Return whether this order's events are recorded."""
        return merchant_uid in self._stories

    def watch(self, merchant_uid: str) -> None:
        """Record this order's events from now on."""
        if merchant_uid not in self._stories:
            self._stories[merchant_uid] = _Story()
            while len(self._stories) > MOST_ORDERS:
                _, forgotten = self._stories.popitem(last=False)
                forgotten.more.set()

    def record(self, merchant_uid: object, kind: str, evidence: Evidence, at: float | None = None) -> None:
        """Record an event of a watched order, at this time unless another is given; ignore the other orders."""
        if not isinstance(merchant_uid, str) or merchant_uid not in self._stories:
            return
        self._last_number += 1
        moment = self._clock() if at is None else at
        event = Event(self._last_number, moment, merchant_uid, kind, evidence)
        story = self._stories[merchant_uid]
        story.events.append(event)
        story.more.set()
        story.more = asyncio.Event()
        for listener in self.listeners:
            listener(event)

    def events(self, merchant_uid: str, after: int = 0) -> list[Event]:
        """Return an order's events whose number is above `after`, in the order of their numbers."""
        story = self._stories.get(merchant_uid)
        return [] if story is None else [event for event in story.events if event.number > after]

    async def wait(self, merchant_uid: str, after: int) -> list[Event]:
        """Return the events above `after` as soon as there is one; an empty list when the order is forgotten."""
        while (story := self._stories.get(merchant_uid)) is not None:
            if events := self.events(merchant_uid, after):
                return events
            await story.more.wait()
        return []

    def clear(self) -> None:
        """Forget every order. Numbers go on, so that a reader's last number never hides a new event."""
        stories, self._stories = self._stories, OrderedDict()
        for story in stories.values():
            story.more.set()
