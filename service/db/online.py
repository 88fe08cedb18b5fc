"""One migration's file, applied beside a service that runs: nobody waits behind it for more than an instant.

A file is one transaction, unless its first line says how it is applied instead:

    -- apply: statement by statement   each outside of a transaction, as CREATE INDEX CONCURRENTLY must be
    -- apply: in batches               one statement, over and over, each a transaction: see `_in_batches`

Both kinds may be cut off in the middle and are then begun again, so they must be written to be repeated
(docs/decisions/0032-change-large-tables-in-steps.md).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import asyncpg

from service.db.pool import Arguments, Connection, Result

# Whoever waits for a lock on a table makes all others wait behind it: so nobody waits for longer than this, and comes
# again, in case a long transaction holds the table.
_LOCK_MILLISECONDS = 500
_PAUSE_SECONDS = 1.0
_TRIES = 600
# Between batches the service has the disk and the rows for as long as a batch had them.
_REST = 1.0

_HEADER = re.compile(r"-- apply: (.+)\n")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)

Applied = Callable[[], Awaitable[None]]


async def apply(connection: Connection, text: str, applied: Applied) -> None:
    """Apply a file, and call `applied` once it is, in the same transaction where it is one.

    Raises asyncpg's error where a statement fails, or where its lock cannot be had for minutes.
    """
    header = _HEADER.match(text)
    match header[1].strip() if header else None:
        case None:
            await _patiently(_in_transaction, connection, text, applied)
        case "statement by statement":
            for statement in statements(text):
                await connection.execute(statement)
            await applied()
        case "in batches":
            await _in_batches(connection, text)
            await applied()
        case other:
            raise ValueError(f"a migration cannot be applied {other!r}")


def statements(text: str) -> list[str]:
    """Return a file's statements, each of which ends with a semicolon at the end of a line."""
    parts = re.split(r";\s*$", _COMMENT.sub("", text), flags=re.MULTILINE)
    return [statement for part in parts if (statement := part.strip())]


async def _in_transaction(connection: Connection, text: str, applied: Applied) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
        await connection.execute(text)
        await applied()


async def _in_batches(connection: Connection, text: str) -> None:
    """Run the file's one statement until it says that there is nothing more.

    It is given the key behind which its batch begins, as text ('' at first), and returns the last key of the batch, or
    null: so it walks the table once, and not from its beginning for each batch.
    """
    [statement] = statements(text)
    after: str | None = ""
    while after is not None:
        began = time.monotonic()
        after = await _patiently(_batch, connection, statement, after)
        await asyncio.sleep((time.monotonic() - began) * _REST)


async def _batch(connection: Connection, statement: str, behind: str) -> str | None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
        last: str | None = await connection.fetchval(statement, behind)
    return last


async def _patiently(
    work: Callable[Arguments, Awaitable[Result]], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Do the work, again where somebody else holds what it needs."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return await work(*args, **named)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if not tries_left:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError("unreachable")
