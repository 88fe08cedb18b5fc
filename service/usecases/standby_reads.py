"""Reads on a standby: only while it is shown to be recent, and each with the age of its data.

The age comes from no other machine's clock. Each receiver reports itself every 2 s at the primary, and knows when it
did; the last report that the standby has of it dates the standby's data.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Concatenate, Generic, TypeVar
from uuid import UUID, uuid4

from service.db import processes
from service.db.pool import (
    Arguments,
    Connection,
    Pool,
    answered_within,
    in_snapshot_on,
    in_statement_on,
    one_connection,
)
from service.errors import PostgresUnavailable

Value = TypeVar("Value")

# A standby that does not answer by then is left alone for a while: the primary answers as quickly as ever.
_ANSWER_SECONDS = 0.5
_LEFT_ALONE_SECONDS = 5.0
# So is one whose data is too old, for as long as it takes to catch up a little.
_CATCHES_UP_SECONDS = 1.0
# More reports than are sent in any time within which data counts as recent.
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Dated(Generic[Value]):
    """A value that was read, and how old it may be at most. `age_seconds` 0: it is the primary's, and as of now."""

    value: Value
    age_seconds: float = 0.0


@dataclass(frozen=True)
class Beats:
    """The reports of this process on itself, by the time that the primary gave each."""

    id: UUID = field(default_factory=uuid4)
    _sent: OrderedDict[datetime, float] = field(default_factory=OrderedDict)

    def keep(self, seen_at: datetime, sent: float) -> None:
        """Remember a report: the primary's time of it, and the process's own, from before it was sent."""
        self._sent[seen_at] = sent
        while len(self._sent) > _KEPT:
            self._sent.popitem(last=False)

    def age_seconds(self, seen_at: datetime | None) -> float | None:
        """Return how old data is at most in which this report is the last. None: older than is remembered."""
        sent = self._sent.get(seen_at) if seen_at else None
        return None if sent is None else time.monotonic() - sent


class StandbyReads:
    """Reads on the servers of READ_DATABASE_URL. Nothing that it answers is older than `age_max_seconds`."""

    def __init__(self, pool: Pool, beats: Beats, age_max_seconds: float) -> None:
        self._pool, self._beats, self.age_max_seconds = pool, beats, age_max_seconds
        self._again_at = 0.0

    async def read(
        self, age_max_seconds: float, work: Callable[Concatenate[Connection, Arguments], Awaitable[Value]],
        *args: Arguments.args, **named: Arguments.kwargs,
    ) -> Dated[Value] | None:  # fmt: skip
        """Run work that only reads, as of one moment. None: no standby is recent enough, so the primary must answer.

        `age_max_seconds`: the caller's own bound, where that is lower.
        """
        bound = min(age_max_seconds, self.age_max_seconds)
        if bound <= 0 or time.monotonic() < self._again_at:
            return None
        try:
            dated = await answered_within(_ANSWER_SECONDS, self._read(bound, work, *args, **named))
        except PostgresUnavailable:
            self._again_at = time.monotonic() + _LEFT_ALONE_SECONDS
            return None
        if dated is None and bound == self.age_max_seconds:
            self._again_at = time.monotonic() + _CATCHES_UP_SECONDS
        return dated

    async def _read(
        self, age_max_seconds: float, work: Callable[Concatenate[Connection, Arguments], Awaitable[Value]],
        *args: Arguments.args, **named: Arguments.kwargs,
    ) -> Dated[Value] | None:  # fmt: skip
        async with one_connection(self._pool) as connection:
            # Before the data is read: what comes after it can only be younger.
            seen_at = await in_statement_on(connection, processes.seen_at, self._beats.id)
            age = self._beats.age_seconds(seen_at)
            if age is None or age > age_max_seconds:
                return None
            return Dated(await in_snapshot_on(connection, work, *args, **named), age)
