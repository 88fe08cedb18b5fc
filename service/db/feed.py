"""The feed of order changes: the table `order_events`, read in the order of its ids up to a horizon.

To read on from a cursor, which is the id of the last event that was read (0: the beginning):

    horizon = Horizon()                                     # one for each reader, for as long as it lives
    async with one_session(pool) as connection:             # both in one session
        upto = horizon.observe(await feed.position(connection))
        if upto is not None:
            events = await feed.events(connection, cursor, upto, limit)

No event is passed by and none comes twice, whoever commits meanwhile, and an order's versions come in their order.
While `horizon.is_behind`, another sample a few milliseconds later may bring more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.db.pool import Connection
from service.domain.event_type import VersionFacts, event_type
from service.domain.evidence import Cause
from service.domain.feed_horizon import FeedPosition
from service.domain.order import Closed, State


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One version of an order, as followers see it. Amounts are in the currency's smallest unit.

    `id` increases along the feed, with gaps. `type` is one of EVENT_TYPES. `problems` have `kind` and `imp_uid` each.
    `notice_id` is the notice that led to it, if one did; it is for traces, and followers do not see it.
    """

    id: int
    type: str
    merchant_uid: str
    version: int
    state: str
    closed: str | None
    amount: int
    currency: str
    paid_amount: int
    cancelled_amount: int
    imp_uid: str | None
    problems: Sequence[Mapping[str, str]]
    account: str
    at: datetime
    notice_id: UUID | None = None


_PLAIN = (
    "id", "merchant_uid", "version", "state", "closed", "amount", "currency", "paid_amount", "cancelled_amount",
    "imp_uid", "problems", "account", "at", "notice_id",
)  # fmt: skip


# Some events, each with its order's account and the version before it.
_FEED_EVENTS = """
    SELECT e.*, o.account, b.state AS state_before, b.closed AS closed_before, b.cancelled_amount AS cancelled_before
    FROM (SELECT id, merchant_uid, version, state, closed, amount, currency, paid_amount, cancelled_amount,
                 imp_uid, problems, at, cause, notice_id
          FROM {}) AS e
         LEFT JOIN LATERAL (SELECT account FROM orders WHERE merchant_uid = e.merchant_uid OFFSET 0) o ON true
         LEFT JOIN LATERAL (SELECT state, closed, cancelled_amount FROM order_events
                            WHERE merchant_uid = e.merchant_uid AND version = e.version - 1 OFFSET 0) b ON true
    ORDER BY e.id
"""


async def position(db: Connection) -> FeedPosition:
    """Sample the feed, for `Horizon.observe`. Read events afterwards, in the same session, in another statement."""
    row = await db.fetchrow("SELECT life, last_id, writers, prepared FROM feed_position_v1()")
    assert row is not None  # noqa: S101 - the function returns one row
    return FeedPosition(row["life"], row["last_id"], frozenset(row["writers"]), row["prepared"])


async def events(db: Connection, after: int, upto: int, limit: int) -> list[FeedEvent]:
    """Return the first events after an id, up to the horizon, in the order of their ids. At most `limit`."""
    rows = await db.fetch(
        _FEED_EVENTS.format("order_events WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"),
        after,
        upto,
        limit,
    )
    return [_event(row) for row in rows]


async def events_of(db: Connection, merchant_uids: Sequence[str], after: int, upto: int, limit: int) -> list[FeedEvent]:
    """Return what `events` does of these orders alone, without reading the others' events."""
    # OFFSET 0: sorted once they are found, because an index in the order of ids would pass through all orders' events.
    rows = await db.fetch(
        _FEED_EVENTS.format(
            "unnest($1::text[]) AS name"
            " CROSS JOIN LATERAL (SELECT * FROM order_events WHERE merchant_uid = name OFFSET 0) AS of_order"
            " WHERE id > $2 AND id <= $3 ORDER BY id LIMIT $4"
        ),
        sorted(set(merchant_uids)),
        after,
        upto,
        limit,
    )
    return [_event(row) for row in rows]


@dataclass(frozen=True, slots=True)
class FeedWriter:
    """A transaction that writes events, by its name in `FeedPosition.writers`. `pid` None: a prepared one.

    `seconds`: how long it has been open, None where Postgres does not tell us.
    """

    name: str
    pid: int | None
    application: str
    state: str
    seconds: float | None


async def writers(db: Connection) -> list[FeedWriter]:
    """Return the transactions that hold the feed back now, the oldest first."""
    rows = await db.fetch(
        """
        SELECT l.virtualtransaction AS name, l.pid, coalesce(a.application_name, '') AS application,
               coalesce(a.state, '') AS state,
               extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'relation' AND l.relation = 'order_events'::regclass AND l.mode = 'RowExclusiveLock'
          AND l.granted AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        ORDER BY a.xact_start
        """
    )
    return [FeedWriter(**row) for row in rows]


async def oldest_age_seconds(db: Connection, after: int) -> float | None:
    """Return how long ago the first event after this id was written; None if there is none that can be seen."""
    age: float | None = await db.fetchval(
        "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM order_events WHERE id > $1 ORDER BY id LIMIT 1",
        after,
    )
    return age


async def newest(db: Connection, upto: int) -> int:
    """Return the id of the last event up to the horizon; 0 if there is none."""
    newest_id: int = await db.fetchval(
        "SELECT coalesce((SELECT id FROM order_events WHERE id <= $1 ORDER BY id DESC LIMIT 1), 0)", upto
    )
    return newest_id


def _event(row: asyncpg.Record) -> FeedEvent:
    before = None
    if row["state_before"]:
        before = _facts(row["state_before"], row["closed_before"], row["cancelled_before"])
    after = _facts(row["state"], row["closed"], row["cancelled_amount"])
    return FeedEvent(
        **{name: row[name] for name in _PLAIN},
        type=event_type(Cause(row["cause"]), before, after),
    )


def _facts(state: str, closed: str | None, cancelled_amount: int) -> VersionFacts:
    return VersionFacts(State(state), Closed(closed) if closed else None, cancelled_amount)
