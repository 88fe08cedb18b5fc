"""Sessions of the console: a service key of the scope `admin` opens one, and it ends with the key, at the latest.

The browser has a random token, of which Postgres has the digest. Neither has the key
(docs/decisions/0026-keep-console-sessions-in-postgres.md).
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from service.db import console_sessions
from service.domain.service_key import Scope, ServiceKey, digest_of
from service.usecases.console import Console
from service.usecases.service_keys import ServiceKeys

# A shift. Nothing makes a session last longer.
LASTS = timedelta(hours=8)
_TOKEN_BYTES = 32
_TOKEN_LENGTH = 43  # in base64url


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is signed in: `who` names the key, as it is recorded with each action.

    `is_named`: it is a key of the table, made for somebody. One of SERVICE_KEYS names nobody.
    """

    token: str = field(repr=False)
    who: str
    ends_at: datetime
    is_named: bool

    @property
    def csrf(self) -> str:
        """The token that each form of this session sends. Whoever cannot read the cookie cannot make it."""
        mac = hmac.digest(self.token.encode(), b"portone-orders console form", "sha256")
        return urlsafe_b64encode(mac).decode().rstrip("=")

    def has_made(self, csrf: str) -> bool:
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of all receivers, because they are in Postgres."""

    console: Console
    service_keys: ServiceKeys

    async def sign_in(self, given: str) -> Session | None:
        """Start a session for the holder of this service key; None: it opens none.

        Raises Overloaded or PostgresUnavailable.
        """
        key = await self.service_keys.find(given.encode("utf-8", "surrogatepass"))
        if key is None or not _opens(key):
            return None
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        await self.console.ask(console_sessions.start, digest_of(token.encode()), key.digest, LASTS)
        return Session(token, key.holder, datetime.now(UTC) + LASTS, key.id is not None)

    async def find(self, token: str) -> Session | None:
        """Return this token's session, unless it or its key has ended. Raises Overloaded or PostgresUnavailable."""
        if len(token) != _TOKEN_LENGTH or not token.isascii():
            return None
        stored = await self.console.ask(console_sessions.find, digest_of(token.encode()))
        key = await self.service_keys.find_by_digest(stored.key_digest) if stored else None
        if stored is None or key is None or not _opens(key):
            return None
        return Session(token, key.holder, stored.ends_at, key.id is not None)

    async def sign_out(self, session: Session) -> None:
        """End the session at every receiver. Raises Overloaded or PostgresUnavailable."""
        await self.console.ask(console_sessions.end, digest_of(session.token.encode()))


def _opens(key: ServiceKey) -> bool:
    return Scope.ADMIN in key.scopes and not key.is_expired(datetime.now(UTC))
