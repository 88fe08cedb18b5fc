"""The table `console_sessions`: who is signed in to the console, by digests alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that has not ended: the digest of the service key that opened it, and until when it lasts."""

    key_digest: bytes
    ends_at: datetime


async def start(db: Connection, digest: bytes, key_digest: bytes, lasts: timedelta) -> None:
    """Start a session, and remove those whose time is over."""
    await db.execute(
        """
        WITH ended AS (DELETE FROM console_sessions WHERE ends_at <= now())
        INSERT INTO console_sessions (digest, key_digest, ends_at) VALUES ($1, $2, now() + $3::interval)
        """,
        digest,
        key_digest,
        lasts,
    )


async def find(db: Connection, digest: bytes) -> OpenSession | None:
    """Return the session, unless it has ended."""
    row = await db.fetchrow(
        "SELECT key_digest, ends_at FROM console_sessions WHERE digest = $1 AND ends_at > now()", digest
    )
    return OpenSession(**row) if row else None


async def end(db: Connection, digest: bytes) -> None:
    """End a session at every receiver."""
    await db.execute("DELETE FROM console_sessions WHERE digest = $1", digest)
