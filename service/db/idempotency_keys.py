"""The table `idempotency_keys`: which repeated call runs, and the first answer to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import orjson

from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class CallKey:
    """A call by the digests of its key and of what it asks."""

    id: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class CallClaim:
    """The right to run a call, until a time that also names the claim."""

    id: bytes
    until: datetime


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """An answer, as it was given first."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """A key that another call has. `by_same`: it asks the same, and still runs."""

    by_same: bool


async def claim(
    db: Connection, calls: Sequence[CallKey], lease: timedelta, kept: timedelta
) -> dict[CallKey, CallClaim | FirstAnswer | Taken]:
    """Claim the calls that may run: new ones, and those whose process died. Give each call once.

    Of two that have one key and ask different things, the first may run. A key that is older than `kept` is forgotten.
    """
    rows = await db.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS g (id, fingerprint, n)
        ), claimed AS (
            -- Sorted, so that two batches that share keys do not wait for each other.
            INSERT INTO idempotency_keys AS k (id, fingerprint, claimed_until)
            SELECT DISTINCT ON (id) id, fingerprint, now() + $3 FROM given ORDER BY id, n
            ON CONFLICT (id) DO UPDATE
               SET fingerprint = excluded.fingerprint, claimed_at = now(), claimed_until = excluded.claimed_until,
                   status = NULL, headers = NULL, body = NULL
               WHERE k.claimed_at < now() - $4::interval
                  OR (k.claimed_until < now() AND k.fingerprint = excluded.fingerprint)
            RETURNING id, fingerprint, claimed_until
        )
        SELECT g.id, g.fingerprint, CASE WHEN c.fingerprint = g.fingerprint THEN c.claimed_until END AS until,
               -- A key that this statement cannot see was claimed by another at the same moment.
               coalesce(c.fingerprint, k.fingerprint, g.fingerprint) = g.fingerprint AS same,
               k.status, k.headers, k.body
        FROM given g LEFT JOIN claimed c ON c.id = g.id
             LEFT JOIN LATERAL (SELECT * FROM idempotency_keys WHERE id = g.id OFFSET 0) k ON true
        """,
        [call.id for call in calls],
        [call.fingerprint for call in calls],
        lease,
        kept,
    )
    return {CallKey(row["id"], row["fingerprint"]): _found(row) for row in rows}


def _found(row: asyncpg.Record) -> CallClaim | FirstAnswer | Taken:
    if row["until"] is not None:
        return CallClaim(row["id"], row["until"])
    if row["status"] is not None and row["same"]:
        return FirstAnswer(row["status"], row["headers"], row["body"])
    return Taken(by_same=row["same"])


async def end(db: Connection, answered: Sequence[tuple[CallClaim, FirstAnswer]]) -> None:
    """Store the first answers of calls whose claims still hold. Give each claim once."""
    await db.execute(
        """
        UPDATE idempotency_keys k
        SET claimed_until = NULL, status = g.status, headers = g.headers::jsonb, body = g.body
        FROM unnest($1::bytea[], $2::timestamptz[], $3::smallint[], $4::text[], $5::bytea[])
             AS g (id, until, status, headers, body)
        WHERE k.id = ANY($1) AND k.id = g.id AND k.claimed_until = g.until
        """,
        [claim.id for claim, _ in answered],
        [claim.until for claim, _ in answered],
        [answer.status for _, answer in answered],
        [orjson.dumps(answer.headers).decode() for _, answer in answered],
        [answer.body for _, answer in answered],
    )


async def give_back(db: Connection, claims: Sequence[CallClaim]) -> None:
    """Forget calls that came to no final answer, so that they run again when they are repeated."""
    await db.execute(
        """
        DELETE FROM idempotency_keys k USING unnest($1::bytea[], $2::timestamptz[]) AS g (id, until)
        WHERE k.id = ANY($1) AND k.id = g.id AND k.claimed_until = g.until
        """,
        [claim.id for claim in claims],
        [claim.until for claim in claims],
    )


async def kept_since(db: Connection, kept: timedelta, rows_max: int) -> datetime:
    """Return the time before which keys are forgotten: all that are older than `kept`, and the oldest of too many."""
    since: datetime = await db.fetchval(
        """
        SELECT greatest(now() - $1::interval,
                        (SELECT claimed_at FROM idempotency_keys ORDER BY claimed_at DESC OFFSET $2 LIMIT 1))
        """,
        kept,
        rows_max,
    )
    return since


async def prune(db: Connection, since: datetime, limit: int) -> int:
    """Delete some of the keys that are older; return how many."""
    command_tag = await db.execute(
        """
        DELETE FROM idempotency_keys WHERE id = ANY(ARRAY(
            SELECT id FROM idempotency_keys WHERE claimed_at < $1 ORDER BY claimed_at LIMIT $2))
        """,
        since,
        limit,
    )
    return int(command_tag.split()[-1])
