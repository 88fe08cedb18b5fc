"""Notices' ids: UUIDv7 (RFC 9562 §5.7), so that those of one time are near each other in the index."""

import random
import time
from datetime import timedelta
from uuid import UUID

from asyncpg.pgproto import pgproto  # whose UUID is one of Python's, at a ninth of the cost

_RANDOM_BITS = 80


def new_notice_id() -> UUID:
    """An id of this millisecond, made before anything is written."""
    # They must be unique, not secret, so the kernel need not be asked for each; `random` is sown anew after a fork.
    return _id(time.time_ns() // 1_000_000, random.getrandbits(_RANDOM_BITS))


def read_notice_id(text: str) -> UUID:
    """The id that a job names. Raises ValueError or TypeError for what is none."""
    return pgproto.UUID(text)


def first_id_since(ago: timedelta) -> UUID:
    """No notice that came earlier than that has a greater id."""
    return _id(time.time_ns() // 1_000_000 - ago // timedelta(milliseconds=1), 0)


def _id(milliseconds: int, random: int) -> UUID:
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << _RANDOM_BITS | random
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return pgproto.UUID(value.to_bytes(16, "big"))
