"""Halving: work that takes too long for a whole batch is done in halves, so that one item holds up no other."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from service.errors import PostgresUnavailable

Item = TypeVar("Item")


async def in_halves(items: Sequence[Item], work: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
    """Do the work for all items at once and, where Postgres takes too long for that, narrow down to the slow item.

    Raises PostgresUnavailable: Postgres is away, or takes too long for both halves, or for the slow item.
    """
    try:
        await work(items)
    except PostgresUnavailable as error:
        if not error.is_silent:
            raise
        while len(items) > 1:
            items = await _slow_half(items, work)
            if not items:
                return
        raise


async def _slow_half(items: Sequence[Item], work: Callable[[Sequence[Item]], Awaitable[None]]) -> Sequence[Item]:
    """Do the work for each half, and return the one that is too slow. Raises PostgresUnavailable if both are."""
    middle = len(items) // 2
    slow: Sequence[Item] = ()
    for half in (items[:middle], items[middle:]):
        try:
            await work(half)
        except PostgresUnavailable:
            if slow:
                raise
            slow = half
    return slow
