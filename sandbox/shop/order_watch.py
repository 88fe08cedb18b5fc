"""Read a watched order after each event that may change it, and record every new version in the journal."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from sandbox.journal import Event, Evidence, Journal
from sandbox.shop.notices import RecordedNotice, recorded_notice, served_notices
from sandbox.shop.service import OrderService

# After an event the order is read this often, until it has been quiet for so long; then only while a page listens.
QUICK_SECONDS = 0.15
QUIET_SECONDS = 4.0
SLOW_SECONDS = 3.0
GIVEN_UP_SECONDS = 15 * 60.0  # without an event

# The watch's own records, which are no reason to read again.
DERIVED = ("notice.recorded", "notice.served", "decision", "order.version")

# The event with which a call began that ends with the other.
BEGINNINGS = {"page.returned": "window.redirected", "page.completion_answered": "page.completion"}


class OrderWatch:
    """One task for each order that something happens to. Each ends by itself once nothing happens any more."""

    def __init__(self, journal: Journal, service: OrderService) -> None:
        self._journal, self._service = journal, service
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._last_event: dict[str, float] = {}
        self._listening: dict[str, int] = {}
        journal.listeners.append(self._hear)

    def stop(self) -> None:
        """Stop every task."""
        for task in self._tasks.values():
            task.cancel()

    @contextlib.contextmanager
    def listening(self, merchant_uid: str) -> Iterator[None]:
        """Keep reading the order, slowly, while a page shows it."""
        self._listening[merchant_uid] = self._listening.get(merchant_uid, 0) + 1
        self._wake(merchant_uid)
        try:
            yield
        finally:
            self._listening[merchant_uid] -= 1
            if not self._listening[merchant_uid]:
                del self._listening[merchant_uid]

    def _hear(self, event: Event) -> None:
        if event.kind in DERIVED:
            return
        if (notice := recorded_notice(event)) is not None:
            began = self._call_began(event, notice)
            evidence = asdict(notice) | {"event": event.number, "within_seconds": round(event.at - began, 6)}
            self._journal.record(event.merchant_uid, "notice.recorded", evidence, at=began)
        self._wake(event.merchant_uid)

    def _call_began(self, event: Event, notice: RecordedNotice) -> float:
        """Return when the call began that brought the notice: a redirect's when the window let the browser go."""
        beginning = BEGINNINGS.get(event.kind)
        began = [one.at for one in self._journal.events(event.merchant_uid) if one.kind == beginning]
        return began[-1] if began else event.at - notice.within_seconds

    def _wake(self, merchant_uid: str) -> None:
        self._last_event[merchant_uid] = time.monotonic()
        task = self._tasks.get(merchant_uid)
        if task is None or task.done():
            task = asyncio.get_running_loop().create_task(self._follow(merchant_uid))
            self._tasks[merchant_uid] = task
            task.add_done_callback(partial(self._forget, merchant_uid))

    def _forget(self, merchant_uid: str, task: asyncio.Task[None]) -> None:
        """Drop a task that has ended, unless an event has already started the next."""
        if self._tasks.get(merchant_uid) is task:
            del self._tasks[merchant_uid]
            del self._last_event[merchant_uid]

    async def _follow(self, merchant_uid: str) -> None:
        while self._journal.watches(merchant_uid):
            await self.read(merchant_uid)
            quiet = time.monotonic() - self._last_event[merchant_uid]
            if quiet < QUIET_SECONDS:
                await asyncio.sleep(QUICK_SECONDS)
                continue
            self._record_undecided(merchant_uid)
            self._record_served(merchant_uid)
            if quiet > GIVEN_UP_SECONDS or merchant_uid not in self._listening:
                return
            await asyncio.sleep(SLOW_SECONDS)

    async def read(self, merchant_uid: str) -> None:
        """Read the order now, and record its version if it is a new one."""
        answered = await self._service.read(merchant_uid)
        version = answered.body.get("version")
        before = self._known_version(merchant_uid)
        if answered.status == 200 and isinstance(version, int) and version > before:
            record_version(self._journal, answered.body, before)

    def _known_version(self, merchant_uid: str) -> int:
        versions = [e.evidence["version"] for e in self._journal.events(merchant_uid) if e.kind == "order.version"]
        return max(versions, default=0)

    def _record_undecided(self, merchant_uid: str) -> None:
        """Record that a look changed nothing, where no version has followed it."""
        events = self._journal.events(merchant_uid)
        looks = [event for event in events if event.kind == "portone.look"]
        decided_at = max((event.at for event in events if event.kind == "decision"), default=0.0)
        if looks and looks[-1].at > decided_at:
            version = self._known_version(merchant_uid)
            told = {"changed": False, "version": version, "look": looks[-1].number}
            at = looks[-1].at + float(looks[-1].evidence["seconds"])
            self._journal.record(merchant_uid, "decision", told, at=at)

    def _record_served(self, merchant_uid: str) -> None:
        """Record of each notice that was followed by no look, which earlier look had said the same already."""
        for notice, look in served_notices(self._journal.events(merchant_uid)):
            told = {"notice": notice.number, "look": look.number, "payments": look.evidence["payments"]}
            self._journal.record(merchant_uid, "notice.served", told, at=notice.at)


def record_version(journal: Journal, order: dict[str, Any], before: int) -> None:
    """Record what the service decided, and the version that it wrote, at the time that it gives."""
    at = _moment(order.get("updated_at"))
    decision: Evidence = {name: order.get(name) for name in ("state", "closed", "paid_amount", "problems", "payment")}
    if before:
        journal.record(order["merchant_uid"], "decision", {"changed": True} | decision, at=at)
    journal.record(order["merchant_uid"], "order.version", order | {"before": before}, at=at)


def _moment(text: object) -> float | None:
    """Return an ISO time as seconds since 1970; None for anything else, which is recorded at the present time."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
