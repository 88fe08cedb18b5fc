"""Turns at endpoints: which has work, which orders are late, and what came of a turn.

An endpoint's cursor (`told_to`) and its `late_orders` say together what was delivered. Only the turn that was claimed
last may move them, so that a worker that was frozen writes nothing over its successor's work.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta

from service.db.json_rows import json_rows
from service.db.pool import Connection
from service.domain.delivery import DeliveryAttempt, Disabled


@dataclass(frozen=True, slots=True)
class ClaimedTurn:
    """A turn at an endpoint, which this worker has for a bounded time."""

    name: str
    turn: int
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    types: frozenset[str]
    told_to: int
    failures: int
    failing: timedelta


@dataclass(frozen=True, slots=True)
class LateOrder:
    """An order whose events from `next_event` on wait for another attempt."""

    merchant_uid: str
    next_event: int
    tries: int
    replays: int


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """An attempt with what it was about."""

    event_id: int
    merchant_uid: str
    at: datetime
    attempt: DeliveryAttempt


@dataclass(frozen=True, slots=True)
class MovedOrder:
    """An order that stays late: where it stands now, and when it is due. `lingers`: a delivery is still under way."""

    late: LateOrder
    wait: timedelta
    lingers: bool = False


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The outcome of deliveries to an endpoint, and how far they came."""

    told_to: int
    moved: Sequence[MovedOrder]
    caught_up: Sequence[LateOrder]
    attempts: Sequence[LoggedAttempt]
    given_up: int = 0

    @property
    def delivered(self) -> int:
        return sum(logged.attempt.is_delivered for logged in self.attempts)

    @property
    def failed(self) -> int:
        return len(self.attempts) - self.delivered


async def has_endpoints(db: Connection) -> bool:
    """Return whether any endpoint is told of changes."""
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM endpoints WHERE disabled_at IS NULL)"))


async def claim(db: Connection, upto: int, limit: int, lease: timedelta) -> list[ClaimedTurn]:
    """Claim a turn at each endpoint that has work: events up to the horizon, or late orders that are due."""
    rows = await db.fetch(
        """
        WITH due AS (
            SELECT name FROM endpoints e
            WHERE disabled_at IS NULL AND next_turn_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())
              AND (EXISTS (SELECT FROM order_events WHERE id > e.told_to AND id <= $1)
                   OR EXISTS (SELECT FROM late_orders l WHERE l.endpoint = e.name AND l.due_at <= now()
                                AND (l.claimed_until IS NULL OR l.claimed_until <= now())))
            ORDER BY next_turn_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        UPDATE endpoints e SET turn = turn + 1, claimed_until = clock_timestamp() + $3
        FROM due WHERE e.name = due.name
        RETURNING e.name, e.turn, e.url, e.types, e.told_to, e.failures, e.secret,
                  CASE WHEN e.old_secret_until > now() THEN e.old_secret END AS old_secret,
                  coalesce(now() - e.failing_since, interval '0') AS failing
        """,
        upto,
        limit,
        lease,
    )
    return [
        ClaimedTurn(
            row["name"],
            row["turn"],
            row["url"],
            tuple(secret for secret in (row["secret"], row["old_secret"]) if secret),
            frozenset(row["types"]),
            row["told_to"],
            row["failures"],
            row["failing"],
        )
        for row in rows
    ]


async def due_late_orders(db: Connection, name: str, limit: int) -> list[LateOrder]:
    """Return a bounded number of the endpoint's late orders that are due, the longest due first."""
    rows = await db.fetch(
        """
        SELECT merchant_uid, next_event, tries, replays FROM late_orders
        WHERE endpoint = $1 AND due_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())
        ORDER BY due_at LIMIT $2
        """,
        name,
        limit,
    )
    return [LateOrder(**row) for row in rows]


async def late_among(db: Connection, name: str, merchant_uids: Sequence[str]) -> set[str]:
    """Return those of the orders that are late at the endpoint, whether due or not."""
    rows = await db.fetch(
        "SELECT merchant_uid FROM late_orders WHERE endpoint = $1 AND merchant_uid = ANY($2)", name, list(merchant_uids)
    )
    return {row["merchant_uid"] for row in rows}


async def end_turn(
    db: Connection, turn: ClaimedTurn, result: TurnResult, wait: timedelta, disabled: Disabled | None
) -> bool:
    """Write what came of a turn, and give the endpoint back. Return False, with nothing written, if the turn was lost.

    An endpoint that answers again after it was down gets everything that is late at once.
    """
    if not await _count(db, turn.name, result, turn, wait, disabled):
        return False
    await db.execute(
        """
        INSERT INTO late_orders AS l (endpoint, merchant_uid, next_event, tries, due_at, claimed_until, replays)
        SELECT $1, g->>0, (g->>1)::bigint, (g->>2)::integer, now() + make_interval(secs => (g->>4)::float8),
               CASE WHEN (g->>5)::boolean THEN now() + make_interval(secs => (g->>4)::float8) END, (g->>3)::integer
        FROM jsonb_array_elements($2::text::jsonb) AS g ORDER BY g->>0
        ON CONFLICT (endpoint, merchant_uid) DO UPDATE SET
            -- A replay that went back since the row was read has added to `replays`.
            next_event = CASE WHEN l.replays = excluded.replays THEN excluded.next_event
                              ELSE least(l.next_event, excluded.next_event) END,
            tries = CASE WHEN l.replays = excluded.replays THEN excluded.tries ELSE 0 END,
            due_at = CASE WHEN l.replays = excluded.replays THEN excluded.due_at ELSE l.due_at END,
            claimed_until = excluded.claimed_until
        """,
        turn.name,
        _rows_of(result.moved),
    )
    await db.execute(
        """
        DELETE FROM late_orders l USING unnest($2::text[], $3::integer[]) AS g (merchant_uid, replays)
        WHERE l.endpoint = $1 AND l.merchant_uid = g.merchant_uid AND l.replays = g.replays
        """,
        turn.name,
        [late.merchant_uid for late in result.caught_up],
        [late.replays for late in result.caught_up],
    )
    return True


async def end_slow(db: Connection, turn: ClaimedTurn, result: TurnResult) -> None:
    """Write what came of a delivery that outlasted its turn: where its order stands now."""
    await _count(db, turn.name, result)
    await db.execute(
        """
        UPDATE late_orders l SET next_event = (g->>1)::bigint, tries = (g->>2)::integer, claimed_until = NULL,
               due_at = now() + make_interval(secs => (g->>4)::float8)
        FROM jsonb_array_elements($2::text::jsonb) AS g
        WHERE l.endpoint = $1 AND l.merchant_uid = g->>0 AND l.replays = (g->>3)::integer
        """,
        turn.name,
        _rows_of(result.moved),
    )


async def make_due(db: Connection, name: str) -> None:
    """Make everything due that is late at an endpoint, because it answers again."""
    await db.execute("UPDATE late_orders SET due_at = now() WHERE endpoint = $1 AND due_at > now()", name)


async def prune_attempts(db: Connection, keep: timedelta, limit: int) -> int:
    """Delete the oldest attempts, if they are older than this. Return how many."""
    command_tag: str = await db.execute(
        """
        DELETE FROM delivery_attempts WHERE id = ANY(ARRAY(
            SELECT id FROM (SELECT id, at FROM delivery_attempts ORDER BY id LIMIT $2) AS oldest
            WHERE at < now() - $1::interval))
        """,
        keep,
        limit,
    )
    return int(command_tag.removeprefix("DELETE "))


async def _count(
    db: Connection,
    name: str,
    result: TurnResult,
    turn: ClaimedTurn | None = None,
    wait: timedelta = timedelta(),
    disabled: Disabled | None = None,
) -> bool:
    """Count attempts and log them; with a turn, end it. Return False if the turn was lost."""
    command_tag: str = await db.execute(
        """
        UPDATE endpoints SET
            told_to = greatest(told_to, $2::bigint),
            delivered = delivered + $3::integer,
            failed = failed + $4::integer,
            given_up = given_up + $5::integer,
            delivered_at = CASE WHEN $3::integer > 0 THEN now() ELSE delivered_at END,
            failures = CASE WHEN $3::integer > 0 THEN 0 ELSE failures + $4::integer END,
            failing_since = CASE WHEN $3::integer > 0 THEN NULL
                                 WHEN $4::integer > 0 THEN coalesce(failing_since, now()) ELSE failing_since END,
            claimed_until = CASE WHEN $6::bigint IS NULL THEN claimed_until END,
            next_turn_at = CASE WHEN $6::bigint IS NULL THEN next_turn_at ELSE now() + $7::interval END,
            disabled_at = CASE WHEN $8::text IS NULL THEN disabled_at ELSE coalesce(disabled_at, now()) END,
            disabled_why = CASE WHEN $8::text IS NULL THEN disabled_why ELSE coalesce(disabled_why, $8::text) END
        WHERE name = $1 AND ($6::bigint IS NULL OR turn = $6::bigint)
        """,
        name,
        result.told_to,
        result.delivered,
        result.failed,
        result.given_up,
        turn.turn if turn else None,
        wait,
        disabled,
    )
    if command_tag != "UPDATE 1":
        return False
    if result.attempts:
        await db.execute(
            """
            INSERT INTO delivery_attempts (endpoint, event_id, merchant_uid, at, seconds, status, failure)
            SELECT $1, (g->>0)::bigint, g->>1, (g->>2)::timestamptz, (g->>3)::real, (g->>4)::smallint, g->>5
            FROM jsonb_array_elements($2::text::jsonb) AS g
            """,
            name,
            json_rows(_row_of(logged) for logged in result.attempts),
        )
    return True


def _row_of(logged: LoggedAttempt) -> tuple[object, ...]:
    attempt = logged.attempt
    about = logged.event_id, logged.merchant_uid, logged.at.isoformat()
    return (*about, attempt.seconds, attempt.status, attempt.failure)


def _rows_of(moved: Sequence[MovedOrder]) -> str:
    return json_rows((*astuple(order.late), order.wait.total_seconds(), order.lingers) for order in moved)
