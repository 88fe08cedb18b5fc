"""Changing an endpoint by a person's word: each change is recorded with who and why, in its transaction."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.db import endpoints, operator_actions
from service.db.pool import Connection

Result = TypeVar("Result")


async def recorded(
    db: Connection, name: str, action: str, who: str, why: str, change: Callable[[Connection], Awaitable[Result]]
) -> Result:
    """Make a change to an endpoint that exists, and record it."""
    result = await change(db)
    await operator_actions.append(db, who, why, action, [name])
    return result


async def enable(db: Connection, name: str, who: str, why: str) -> None:
    """Send an endpoint everything from its place on."""
    await recorded(db, name, "endpoints.enable", who, why, lambda db: endpoints.enable(db, name))


async def disable(db: Connection, name: str, who: str, why: str) -> None:
    """Send an endpoint nothing more."""
    await recorded(db, name, "endpoints.disable", who, why, lambda db: endpoints.disable(db, name))
