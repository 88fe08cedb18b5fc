"""Ids of notices: UUIDv7 (RFC 9562 §5.7), so that ids of one time are near each other in the index."""

import random
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg.pgproto import pgproto  # whose UUID is one of Python's, at a ninth of the cost

_RANDOM_BITS = 80


def new_notice_id() -> UUID:
    """Return a new id of this millisecond. Call it before anything is written."""
    # Ids must be unique, not secret, so `random`, which seeds itself again after a fork, saves a call to the kernel.
    return _id(time.time_ns() // 1_000_000, random.getrandbits(_RANDOM_BITS))


def read_notice_id(text: str) -> UUID:
    """Read the id that a job names. Raises ValueError or TypeError."""
    return pgproto.UUID(text)


def first_id_since(ago: timedelta) -> UUID:
    """Return the least id of a notice that came at most this long ago."""
    return _id(time.time_ns() // 1_000_000 - ago // timedelta(milliseconds=1), 0)


def time_of(notice_id: UUID) -> datetime | None:
    """Return when the id was made, or None if it is not one of ours."""
    if notice_id.version != 7:
        return None
    return datetime.fromtimestamp((notice_id.int >> _RANDOM_BITS) / 1000, UTC)


def _id(milliseconds: int, random: int) -> UUID:
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << _RANDOM_BITS | random
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return pgproto.UUID(value.to_bytes(16, "big"))
