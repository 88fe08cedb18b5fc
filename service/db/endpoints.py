"""The table `endpoints`: other services that are told of each change, as people set them up and look at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.db.pool import Connection
from service.domain.delivery import DeliveryAttempt, Disabled


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An endpoint without its secrets. The count of `late` orders ends at LATE_COUNTED_MAX."""

    name: str
    url: str
    types: tuple[str, ...]
    created_at: datetime
    told_to: int
    old_secret_until: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None
    failures: int
    failing_since: datetime | None
    delivered: int
    failed: int
    given_up: int
    delivered_at: datetime | None
    late: int
    # The age of the oldest event that was not delivered; None if there is none.
    behind_seconds: float | None


@dataclass(frozen=True, slots=True)
class ShownAttempt:
    """A line of the log of attempts. `event_id` and `merchant_uid` are None for a test."""

    at: datetime
    event_id: int | None
    merchant_uid: str | None
    status: int | None
    seconds: float
    failure: str | None


LATE_COUNTED_MAX = 10_000


async def add(db: Connection, name: str, url: str, types: Sequence[str], secret: str, *, oldest: bool) -> bool:
    """Add an endpoint, which is told of what comes from now on, or of everything. Return False if the name is taken."""
    command_tag: str = await db.execute(
        """
        INSERT INTO endpoints (name, url, types, secret, told_to)
        SELECT $1, $2, $3, $4,
               CASE WHEN $5 THEN 0
                    ELSE coalesce((SELECT id FROM order_events ORDER BY id DESC LIMIT 1), 0) END
        ON CONFLICT (name) DO NOTHING
        """,
        name,
        url,
        list(types),
        secret,
        oldest,
    )
    return command_tag == "INSERT 0 1"


async def read(db: Connection, names: Sequence[str] | None = None) -> list[WebhookEndpoint]:
    """Return the endpoints of these names, or all, sorted by name."""
    rows = await db.fetch(
        """
        SELECT e.name, e.url, e.types, e.created_at, e.told_to, e.disabled_at, e.disabled_why, e.failures,
               e.failing_since, e.delivered, e.failed, e.given_up, e.delivered_at,
               CASE WHEN e.old_secret_until > now() THEN e.old_secret_until END AS old_secret_until,
               (SELECT count(*) FROM (SELECT FROM late_orders WHERE endpoint = e.name LIMIT $2) AS late) AS late,
               extract(epoch FROM now() - least(next.at, late.at))::float8 AS behind_seconds
        FROM endpoints e
             LEFT JOIN LATERAL (SELECT at FROM order_events WHERE id > e.told_to ORDER BY id LIMIT 1) next ON true
             LEFT JOIN LATERAL (
                 SELECT min(v.at) AS at
                 FROM (SELECT next_event FROM late_orders WHERE endpoint = e.name ORDER BY due_at LIMIT $2) l
                      CROSS JOIN LATERAL (SELECT at FROM order_events WHERE id = l.next_event OFFSET 0) v) late ON true
        WHERE $1::text[] IS NULL OR e.name = ANY($1)
        ORDER BY e.name
        """,
        names if names is None else list(names),
        LATE_COUNTED_MAX,
    )
    return [WebhookEndpoint(**{**row, "types": tuple(row["types"])}) for row in rows]


async def secrets(db: Connection, name: str) -> tuple[str, ...]:
    """Return the secrets that sign now, the newest first; none if there is no such endpoint."""
    row = await db.fetchrow(
        """
        SELECT secret, CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret
        FROM endpoints WHERE name = $1
        """,
        name,
    )
    return tuple(secret for secret in (row or {}).values() if secret)


async def rotate(db: Connection, name: str, secret: str, old_lives: timedelta) -> bool:
    """Give the endpoint another secret; the one that it had signs beside it for a while.

    Return False, with nothing changed, while an older one still lives, unless the old one is to end at once.
    """
    command_tag: str = await db.execute(
        """
        UPDATE endpoints SET secret = $2,
               old_secret = CASE WHEN $3 > interval '0' THEN secret END,
               old_secret_until = CASE WHEN $3 > interval '0' THEN now() + $3 END
        WHERE name = $1 AND ($3 = interval '0' OR old_secret_until IS NULL OR old_secret_until <= now())
        """,
        name,
        secret,
        old_lives,
    )
    return command_tag == "UPDATE 1"


async def disable(db: Connection, name: str) -> None:
    """Send an endpoint nothing more. It keeps its place."""
    await db.execute(
        "UPDATE endpoints SET disabled_at = now(), disabled_why = $2 WHERE name = $1 AND disabled_at IS NULL",
        name,
        Disabled.OPERATOR,
    )


async def enable(db: Connection, name: str) -> None:
    """Send an endpoint everything from its place on, as if it had never failed."""
    await db.execute(
        """
        WITH enabled AS (
            UPDATE endpoints SET disabled_at = NULL, disabled_why = NULL, failures = 0, failing_since = NULL,
                   next_turn_at = now()
            WHERE name = $1 RETURNING name
        )
        UPDATE late_orders l SET tries = 0, due_at = now() FROM enabled WHERE l.endpoint = enabled.name
        """,
        name,
    )


async def keep_place(db: Connection, name: str) -> tuple[int, frozenset[str]] | None:
    """Keep the endpoint's cursor where it is until the transaction ends. Return it with the types, or None."""
    row = await db.fetchrow("SELECT told_to, types FROM endpoints WHERE name = $1 FOR UPDATE", name)
    return (row["told_to"], frozenset(row["types"])) if row else None


async def move_back(db: Connection, name: str, first_events: Mapping[str, int]) -> None:
    """Send these orders again, each from this event of it on to its newest, so that none ends with an old one."""
    await db.execute(
        """
        INSERT INTO late_orders AS l (endpoint, merchant_uid, next_event, replays)
        SELECT $1, v.merchant_uid, v.event_id, 1 FROM unnest($2::text[], $3::bigint[]) AS v (merchant_uid, event_id)
        ORDER BY v.merchant_uid
        ON CONFLICT (endpoint, merchant_uid) DO UPDATE
           SET next_event = least(l.next_event, excluded.next_event), replays = l.replays + 1, tries = 0,
               due_at = now()
        """,
        name,
        list(first_events),
        list(first_events.values()),
    )


async def remove(db: Connection, name: str) -> None:
    """Delete an endpoint, with what it has not got yet and the log of its attempts."""
    # A worker that ends a turn takes this lock first, so it adds nothing meanwhile.
    await db.execute("SELECT FROM endpoints WHERE name = $1 FOR UPDATE", name)
    await db.execute("DELETE FROM late_orders WHERE endpoint = $1", name)
    await db.execute("DELETE FROM delivery_attempts WHERE endpoint = $1", name)
    await db.execute("DELETE FROM endpoints WHERE name = $1", name)


async def has_event(db: Connection, event_id: int) -> bool:
    """Return whether there is an event with this id."""
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM order_events WHERE id = $1)", event_id))


async def newest(db: Connection) -> int:
    """Return the id of the newest event, or 0."""
    event_id: int = await db.fetchval("SELECT coalesce((SELECT id FROM order_events ORDER BY id DESC LIMIT 1), 0)")
    return event_id


async def event_at(db: Connection, at: datetime) -> int:
    """Return the id of the first event that is not older than this time, or one beyond all.

    Ids and times increase together, but for the moment that a transaction takes: the search goes a minute too far back.
    """
    low, high = 0, await newest(db) + 1
    while low < high:
        middle = (low + high) // 2
        later = await db.fetchrow("SELECT id, at FROM order_events WHERE id >= $1 ORDER BY id LIMIT 1", middle)
        if later is None or later["at"] >= at - timedelta(minutes=1):
            high = middle
        else:
            low = later["id"] + 1
    return int(low)


async def attempts(db: Connection, name: str, limit: int, *, failed: bool = False) -> list[ShownAttempt]:
    """Return the newest attempts at an endpoint, the newest first."""
    rows = await db.fetch(
        """
        SELECT at, event_id, merchant_uid, status, seconds, failure FROM delivery_attempts
        WHERE endpoint = $1 AND (NOT $3 OR failure IS NOT NULL) ORDER BY id DESC LIMIT $2
        """,
        name,
        limit,
        failed,
    )
    return [ShownAttempt(**row) for row in rows]


async def log_test(db: Connection, name: str, at: datetime, attempt: DeliveryAttempt) -> None:
    """Log an attempt that no event caused."""
    await db.execute(
        "INSERT INTO delivery_attempts (endpoint, at, seconds, status, failure) VALUES ($1, $2, $3, $4, $5)",
        name,
        at,
        attempt.seconds,
        attempt.status,
        attempt.failure,
    )
