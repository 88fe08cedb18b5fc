"""Finding the service key of a request, at the cost of one hash and one look into a dict.

A receiver has all keys in memory, and reads them again every two seconds. So a revoked key ends within 5 seconds, and
a flood of wrong keys costs Postgres at most 20 small statements a second, whatever its size: whoever comes with an
unknown key waits for the next reading, which all such callers share. A key that was just made therefore works at once.
Who waits or streams is let go by the reading that does not find the key any more.
"""

import asyncio
import contextlib
import hmac
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from service.db import service_keys
from service.db.pool import Pool, answered_within, in_statement
from service.domain.service_key import ServiceKey, digest_of, of_setting
from service.errors import KeyEnded, Overloaded, PostgresUnavailable
from service.usecases.coalescing import BatchBounds, Coalescer

log = structlog.get_logger()

# A revoked key works for this long at most, while Postgres answers: one reading and the time that it may take.
READ_EVERY_SECONDS = 2.0
_READ_SECONDS = 2.0
# Postgres is away: the keys that were read last go on for so long. Nobody can revoke one meanwhile.
KEPT_SECONDS = 300.0
_USES_APART = timedelta(minutes=1)
# Unknown keys: one reading serves all that came since the last, and at most this many requests wait for it.
_SPACING_SECONDS = 0.05
_UNKNOWN_MAX = 2_000
_UNKNOWN = BatchBounds(batch=_UNKNOWN_MAX, waiting=_UNKNOWN_MAX, spacing_seconds=_SPACING_SECONDS)
_CANNOT_READ = (PostgresUnavailable, asyncpg.PostgresError)


class ServiceKeys:
    """The keys of SERVICE_KEYS, which need no Postgres, and those of the table `service_keys`."""

    def __init__(self, pool: Pool, configured: Collection[str]) -> None:
        self._pool = pool
        numbered = (of_setting(key, number) for number, key in enumerate(configured, 1))
        self._configured = {key.digest: key for key in numbered}
        self._stored: Mapping[bytes, ServiceKey] = {}
        self._read_at = float("-inf")
        self._used: dict[int, datetime] = {}
        # Those who wait with a key, by its digest.
        self._waiting: dict[bytes, set[asyncio.Timeout]] = defaultdict(set)
        self._uses_written_at = time.monotonic()
        self.batches = Coalescer[bytes, ServiceKey | None](self._find_unknown, _UNKNOWN)

    async def find(self, given: bytes) -> ServiceKey | None:
        """Return the key, expired or not, or None. Raises PostgresUnavailable where nobody can say."""
        return await self.find_by_digest(digest_of(given))

    async def find_by_digest(self, digest: bytes) -> ServiceKey | None:
        """Return the key of this digest, as `find` does.

        A dict's own comparison ends at the first byte that differs, which tells nothing here: whoever asks cannot
        choose the bytes of a SHA-256. It is repeated in constant time all the same.
        """
        key = self._known(digest) or await self._unknown(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            return None
        if key.id is not None:
            self._used[key.id] = datetime.now(UTC)
        return key

    @contextlib.asynccontextmanager
    async def while_good(self, key: ServiceKey) -> AsyncIterator[None]:
        """Cancel the block when the key has expired or is found revoked, and raise KeyEnded."""
        left = key.expires_at - datetime.now(UTC) if key.expires_at else None
        ends = asyncio.timeout(left.total_seconds() if left is not None else None)
        try:
            async with ends:
                waiting = self._waiting[key.digest]
                waiting.add(ends)
                try:
                    yield
                finally:
                    waiting.discard(ends)
                    if not waiting:
                        self._waiting.pop(key.digest, None)
        except TimeoutError:
            if ends.expired():
                raise KeyEnded from None
            raise

    async def keep_current(self) -> None:
        """Read the keys again and again, and record their uses, until cancelled."""
        while True:
            with contextlib.suppress(*_CANNOT_READ):
                await self._read()
            if time.monotonic() - self._uses_written_at >= _USES_APART.total_seconds():
                await self._write_uses()
            await asyncio.sleep(READ_EVERY_SECONDS)

    async def close(self) -> None:
        """Record the last uses, if Postgres lets us."""
        await self.batches.close()
        await self._write_uses()

    def _known(self, digest: bytes) -> ServiceKey | None:
        stored = self._stored.get(digest) if self._is_usable() else None
        return stored or self._configured.get(digest)

    def _is_usable(self) -> bool:
        return time.monotonic() - self._read_at < KEPT_SECONDS

    async def _unknown(self, digest: bytes) -> ServiceKey | None:
        """Look for a key that may have been made since the last reading. A flood of them is not waited for."""
        try:
            return await self.batches.join(digest)
        except Overloaded:
            return None

    async def _find_unknown(self, digests: Sequence[bytes]) -> Sequence[ServiceKey | None]:
        try:
            await self._read()
        except _CANNOT_READ as error:
            # Without Postgres no key can have been made since, so what was read last decides.
            if not self._is_usable():
                raise PostgresUnavailable(str(error)) from error
        return [self._stored.get(digest) for digest in digests]

    async def _read(self) -> None:
        began = time.monotonic()
        stored = await answered_within(_READ_SECONDS, in_statement(self._pool, service_keys.working))
        if began > self._read_at:  # else a later reading has ended before this one
            self._stored, self._read_at = stored, began
            self._end_waits()

    def _end_waits(self) -> None:
        now = asyncio.get_running_loop().time()
        for digest, waiting in self._waiting.items():
            if digest not in self._stored and digest not in self._configured:
                for ends in waiting:
                    if not ends.expired():  # one that is ending cannot be moved
                        ends.reschedule(now)

    async def _write_uses(self) -> None:
        self._uses_written_at = time.monotonic()
        used, self._used = self._used, {}
        if not used:
            return
        writing = in_statement(self._pool, service_keys.note_uses, used, _USES_APART)
        try:
            await answered_within(_READ_SECONDS, writing)
        except _CANNOT_READ as error:
            log.warning("service_keys.uses_not_written", reason=type(error).__name__)
