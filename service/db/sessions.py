"""Sessions of Postgres: the settings that every one of ours has, and what a pooler leaves of it.

A pooler such as PgBouncer stands between us and Postgres. In transaction mode it gives each transaction whichever
session is free, so what rides on a session is the pooler's to set
(docs/decisions/0027-stand-receivers-behind-a-pooler.md).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import asyncpg

from service.errors import UnfitPooler

if TYPE_CHECKING:  # asyncpg's classes take no parameters when they run
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

# Postgres ends what a process of ours left behind that is frozen or whose machine is gone: its transaction would keep
# locks, and hold the feed back.
LEFT_BEHIND_SECONDS = 10.0

SETTINGS: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": f"{LEFT_BEHIND_SECONDS:.0f}s",
    "statement_timeout": f"{LEFT_BEHIND_SECONDS:.0f}s",
    # A prepared statement keeps the plan that it got while its tables were small: a sequential scan, or a join that
    # reads a whole index, 16 to 50 ms a batch instead of 1 on the first busy day. Every statement of ours can find its
    # few rows by a condition on an index (tests/service/db/test_plans.py).
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # If a lone notice's plan looks cheaper than one for many, Postgres plans every statement again each time: half of
    # what its claim takes, and a third of its write (docs/decisions/0016-plan-each-statement-once.md).
    "plan_cache_mode": "force_generic_plan",
}
NO_SETTINGS: Mapping[str, str] = {}
# Poolers pass this one on.
_APPLICATION = {"application_name": "portone-orders"}

# PgBouncer's answer to a setting in the start-up message that it does not know.
_REFUSED_SETTING = "unsupported startup parameter"
# What a statement meets where a pooler does not know prepared statements: another's, or none.
STATEMENTS_LOST = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
# Others may take the very session that would show it, which five times in a row is unlikely.
_TRIES = 5


class DatabaseSession(_Connection):
    """A connection of ours. `is_pooled`: each transaction may run in another session of Postgres."""

    __slots__ = ("is_pooled",)

    is_pooled: bool


def is_pooled(connection: object) -> bool:
    """Return whether a pooler answers on this connection, or on the one for which the pool's object stands."""
    return bool(getattr(connection, "is_pooled", False))


async def connect(
    *args: Any, settings: Mapping[str, str] = NO_SETTINGS, whole: bool = False, **options: Any
) -> DatabaseSession:
    """Connect as asyncpg does, with the settings. `whole`: the session must be ours alone.

    Raises UnfitPooler.
    """
    session = await _connect(*args, settings=settings, **options)
    try:
        await _examine(session, settings)
        if whole and session.is_pooled:
            await _refuse_shared(session, *args, settings=settings, **options)
    except BaseException as error:
        session.terminate()
        if isinstance(error, STATEMENTS_LOST):
            raise statements_lost() from error
        raise
    return session


def statements_lost() -> UnfitPooler:
    return UnfitPooler(
        "a pooler before it loses prepared statements",
        "take PgBouncer 1.21 or newer, and let its max_prepared_statements be above 0",
    )


async def _connect(*args: Any, settings: Mapping[str, str], **options: Any) -> DatabaseSession:
    options.setdefault("connection_class", DatabaseSession)
    try:
        return await asyncpg.connect(*args, server_settings={**_APPLICATION, **settings}, **options)  # type: ignore[no-any-return]
    except asyncpg.ProtocolViolationError as error:
        if _REFUSED_SETTING not in str(error):
            raise
        # The pooler's sessions may have them all the same.
        return await asyncpg.connect(*args, server_settings=_APPLICATION, **options)  # type: ignore[no-any-return]


async def _examine(session: DatabaseSession, settings: Mapping[str, str]) -> None:
    """See whether a pooler answers. Raises UnfitPooler if its sessions are not set as ours are."""
    row = await session.fetchrow(
        "SELECT pg_backend_pid() AS process,"
        " ARRAY(SELECT current_setting(name) FROM unnest($1::text[]) AS name) AS values",
        list(settings),
    )
    assert row is not None  # noqa: S101 - it has no FROM
    # By the number of its process a session's statement is cancelled. A pooler gives us a number that it made up.
    session.is_pooled = row["process"] != session.get_server_pid()
    # All who share the pooler's sessions have the same settings, whatever one of them asks for.
    lost = [name for name, value in zip(settings, row["values"], strict=True) if value != SETTINGS[name]]
    if session.is_pooled and lost:
        raise UnfitPooler(
            f"a pooler before it loses the settings of our sessions ({', '.join(lost)})",
            "set them in the pooler, as docs/pooler.md says",
        )


async def try_statements(session: DatabaseSession, other: DatabaseSession) -> None:
    """Run a prepared statement again, in another session. Ends `other`. Raises UnfitPooler if the statement is lost."""
    try:
        await _process_of(session)
        async with other.transaction():
            await _process_of(other)
            await _process_of(session)
    except STATEMENTS_LOST as error:
        raise statements_lost() from error
    finally:
        other.terminate()


async def _refuse_shared(session: DatabaseSession, *args: Any, **options: Any) -> None:
    """Raise UnfitPooler if another connection gets our session, or we another one, while both are open."""
    other = await _connect(*args, **options)
    try:
        for _ in range(_TRIES):
            ours = await _process_of(session)
            async with other.transaction():
                if ours == await _process_of(other) or ours != await _process_of(session):
                    raise UnfitPooler(
                        "a pooler before it shares our sessions with others",
                        "let DIRECT_DATABASE_URL name Postgres itself, which workers and `migrate` need",
                    )
    finally:
        other.terminate()


async def _process_of(session: DatabaseSession) -> int:
    pid: int = await session.fetchval("SELECT pg_backend_pid()")
    return pid
