"""The table `service_keys`: the digests of the keys of other services, with name, scopes, expiry and last use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from service.db.pool import Connection
from service.domain.service_key import Scope, ServiceKey

# Every receiver has all keys in memory and reads them every few seconds, so their number is bounded.
KEYS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be stored. `prefix` is its beginning, by which people know it."""

    prefix: str
    digest: bytes
    name: str
    scopes: Collection[Scope]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as people see it. `ended` says that it was revoked or has expired."""

    prefix: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    ended: bool


async def insert(db: Connection, key: NewKey) -> bool:
    """Store a key; return False, with nothing stored, where there are KEYS_MAX that work.

    Two commands at the same instant may pass that bound by one.
    """
    return bool(
        await db.fetchval(
            """
            INSERT INTO service_keys (prefix, digest, name, scopes, expires_at)
            SELECT $1, $2, $3, $4::text[], $5
            WHERE (SELECT count(*) FROM service_keys
                   WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $6
            RETURNING true
            """,
            key.prefix,
            key.digest,
            key.name,
            sorted(key.scopes),
            key.expires_at,
            KEYS_MAX,
        )
    )


async def working(db: Connection) -> dict[bytes, ServiceKey]:
    """Return the keys that were not revoked, by digest. One that expired within a day is among them, to be told so."""
    rows = await db.fetch(
        """
        SELECT id, digest, prefix, name, scopes, expires_at FROM service_keys
        WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now() - interval '1 day')
        """
    )
    return {row["digest"]: _working(row) for row in rows}


async def listed(db: Connection, *, ended: bool) -> list[ListedKey]:
    """Return the keys that work, the newest first; with `ended` also those that were revoked or have expired."""
    rows = await db.fetch(
        """
        SELECT * FROM (
            SELECT prefix, name, scopes, created_at, expires_at, revoked_at, last_used_at,
                   revoked_at IS NOT NULL OR coalesce(expires_at <= now(), false) AS ended
            FROM service_keys) k
        WHERE $1 OR NOT ended
        ORDER BY created_at DESC, prefix
        """,
        ended,
    )
    return [_listed(row) for row in rows]


def _working(row: asyncpg.Record) -> ServiceKey:
    holder = f"{row['name']} ({row['prefix']})"
    return ServiceKey(row["id"], row["digest"], _scopes(row), row["expires_at"], holder)


def _listed(row: asyncpg.Record) -> ListedKey:
    return ListedKey(**{**row, "scopes": tuple(sorted(_scopes(row)))})


def _scopes(row: asyncpg.Record) -> frozenset[Scope]:
    """Return the scopes that this version knows: a newer one, beside which it runs, may have more."""
    return frozenset(scope for scope in Scope if scope in row["scopes"])


async def revoke(db: Connection, prefix: str) -> str | None:
    """End a key, and return its name; None where no key that was not revoked has this prefix."""
    name: str | None = await db.fetchval(
        "UPDATE service_keys SET revoked_at = now() WHERE prefix = $1 AND revoked_at IS NULL RETURNING name", prefix
    )
    return name


async def note_uses(db: Connection, used: Mapping[int, datetime], apart: timedelta) -> None:
    """Record when keys were last used, for those whose stored time is older by `apart`: receivers share this work."""
    await db.execute(
        """
        UPDATE service_keys k SET last_used_at = u.at
        FROM unnest($1::bigint[], $2::timestamptz[]) AS u (id, at)
        WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at - $3::interval)
        """,
        list(used),
        list(used.values()),
        apart,
    )
