"""Service keys: what each of them may do, and until when. Only a key's digest is kept.

A digest is one SHA-256 and not a slow hash (argon2, bcrypt): those protect passwords, of which a thief can guess
billions. A key of ours has 256 random bits, so nobody finds it from its digest, and each request can afford the hash.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256


class Scope(StrEnum):
    """The kinds of what a key may do. None includes another; a key may have several."""

    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    EVENTS_READ = "events:read"
    # The promise and the metrics, for Prometheus and the like.
    METRICS = "metrics"
    # The console, with all that a person may do there.
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key as the service knows it: never the key itself. `id` None: it comes from SERVICE_KEYS.

    `holder` says whose it is, where a person acts with it: its name and its beginning.
    """

    id: int | None
    digest: bytes
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    holder: str = ""

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


def digest_of(key: bytes) -> bytes:
    """Return what is kept of a key, and by which it is found."""
    return sha256(key).digest()


def of_setting(key: str, number: int) -> ServiceKey:
    """Return a key of SERVICE_KEYS, which may do everything. It names nobody, so its holder is its place there."""
    return ServiceKey(None, digest_of(key.encode()), frozenset(Scope), holder=f"SERVICE_KEYS, key {number}")
