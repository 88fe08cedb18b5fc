"""The pool of connections, and the one place where a transaction is retried."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import asyncpg
import orjson

from service.db.lending import ConnectionPool
from service.db.servers import Servers
from service.db.sessions import (
    LEFT_BEHIND_SECONDS,
    SETTINGS,
    STATEMENTS_LOST,
    is_pooled,
    statements_lost,
)
from service.errors import PostgresUnavailable
from service.reasons import postgres_reason

if TYPE_CHECKING:  # asyncpg's classes take no parameters when they run
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
# A function of service/db or a use case that runs on a connection: its caller owns the transaction.
Work = Callable[Concatenate[Connection, Arguments], Awaitable[Result]]
Connect = Callable[[], AbstractAsyncContextManager[Connection]]

# Postgres' errors for transactions that would succeed if they ran again.
_RETRIABLE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_TRIES = 10

# What Postgres says of a row's own data. Whatever else it says (no table, a full disk) is its own trouble.
BAD_DATA = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

# Postgres is away, or going away, or refuses us for what only an operator can correct: a password, a full disk, missing
# tables. None of that is a fault of the statement, which is tried again once Postgres takes it.
POSTGRES_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InterfaceError,
    # asyncpg's error if a connection is cut in the middle of an answer.
    asyncpg.InternalClientError,
    asyncpg.ReadOnlySQLTransactionError,
)

# Our statements are short. A longer one waits because of a fault, and its caller has a better use of the time.
_STATEMENT_SECONDS = 5.0
_CONNECT_SECONDS = 2.0


async def open_pool(
    database_url: str,
    size: int = 10,
    statement_seconds: float = LEFT_BEHIND_SECONDS,
    *,
    reads_only: bool = False,
    whole: bool = False,
) -> ConnectionPool:
    """Open a pool that needs no server yet: connections are made when first used.

    Postgres itself ends a statement after `statement_seconds`. `reads_only`: any of the URL's servers will do. `whole`:
    each connection must have a session of its own, which a pooler in transaction mode does not give.
    """
    return await ConnectionPool(
        Servers(database_url, any_server=reads_only),
        min_size=0,
        max_size=size,
        # What `asyncpg.create_pool` gives its own class.
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        record_class=asyncpg.Record,
        loop=None,
        command_timeout=min(_STATEMENT_SECONDS, statement_seconds),
        timeout=_CONNECT_SECONDS,
        init=_set_json_codec,
        reset=_nothing_to_reset,
        settings={**SETTINGS, "statement_timeout": f"{statement_seconds:.0f}s"},
        whole=whole,
    )


@contextlib.asynccontextmanager
async def patient_connection(
    database_url: str, seconds: float, *, any_server: bool = False
) -> AsyncIterator[Connection]:
    """A connection like those of the pool, for a person's question, which may wait longer than the service does."""
    connection = await Servers(database_url, any_server=any_server).connect(timeout=seconds, command_timeout=seconds)
    try:
        await _set_json_codec(connection)
        yield connection
    finally:
        connection.terminate()


async def refuse_shared_sessions(database_url: str) -> None:
    """Raise UnfitPooler if whole sessions are not to be had. A Postgres that is away cannot tell yet."""
    with contextlib.suppress(*POSTGRES_AWAY):
        session = await Servers(database_url).connect(
            settings=SETTINGS, whole=True, timeout=_CONNECT_SECONDS, command_timeout=_STATEMENT_SECONDS
        )
        session.terminate()


@contextlib.asynccontextmanager
async def one_connection(pool: Pool) -> AsyncIterator[Connection]:
    """Acquire a connection for work that must end with it: if Postgres restarts, the work cannot write any more.

    Raises PostgresUnavailable.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(pool.acquire(timeout=_CONNECT_SECONDS))
        except POSTGRES_AWAY as error:
            raise PostgresUnavailable(postgres_reason(error).text) from error
        yield connection


@contextlib.asynccontextmanager
async def one_session(pool: Pool) -> AsyncIterator[Connection]:
    """Acquire a connection whose statements run in one session of Postgres. Behind a pooler only a transaction does.

    For work that reads and is short. Raises PostgresUnavailable.
    """
    async with one_connection(pool) as connection:
        if not is_pooled(connection):
            yield connection
            return
        try:
            async with connection.transaction():
                yield connection
        except POSTGRES_AWAY as error:
            raise PostgresUnavailable(postgres_reason(error).text) from error


async def in_transaction(
    pool: Pool, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Run `work(connection, …)` in a transaction, again after a deadlock or a serialization failure.

    Raises PostgresUnavailable if Postgres is away. Then nothing was written or, if only the commit's answer was lost,
    all of it; so the work must be safe to repeat.
    """
    return await _run(_acquire(pool), _in_its_transaction, work, *args, **named)


async def in_transaction_on(
    connection: Connection, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Do as `in_transaction` does, on a connection that the caller has."""
    return await _run(_given(connection), _in_its_transaction, work, *args, **named)


async def in_snapshot(
    pool: Pool, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Run work that only reads, all of it as of one moment. Raises PostgresUnavailable."""
    return await _run(_acquire(pool), _in_its_snapshot, work, *args, **named)


async def in_snapshot_on(
    connection: Connection, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Do as `in_snapshot` does, on a connection that the caller has."""
    return await _run(_given(connection), _in_its_snapshot, work, *args, **named)


async def in_statement(
    pool: Pool, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Run one statement as `in_transaction` does. It is a transaction by itself, which saves two round trips."""
    return await _run(_acquire(pool), _by_itself, work, *args, **named)


async def in_statement_on(
    connection: Connection, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Do as `in_statement` does, on a connection that the caller has."""
    return await _run(_given(connection), _by_itself, work, *args, **named)


async def try_statement_on(
    connection: Connection, work: Work[Arguments, None], *args: Arguments.args, **named: Arguments.kwargs
) -> bool:
    """Run one statement without retrying. Return False, with nothing written, on a deadlock or serialization failure.

    Raises PostgresUnavailable.
    """
    try:
        await work(connection, *args, **named)
    except _RETRIABLE:
        return False
    except POSTGRES_AWAY as error:
        raise PostgresUnavailable(postgres_reason(error).text) from error
    return True


async def answered_within(seconds: float, query: Coroutine[Any, Any, Result]) -> Result:
    """Return what the query returns. Raises PostgresUnavailable when that takes too long.

    asyncio.wait, not timeout: cancelling a query blocks until Postgres answers, and a hung Postgres never does.
    """
    task = asyncio.create_task(query)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.add_done_callback(_let_go)
        task.cancel()
        raise PostgresUnavailable("it takes too long")
    return task.result()


def _let_go(task: asyncio.Task[Any]) -> None:
    """Drop the result of a query that nobody waits for."""
    if not task.cancelled():
        task.exception()


def _acquire(pool: Pool) -> Connect:
    return partial(pool.acquire, timeout=_CONNECT_SECONDS)


def _given(connection: Connection) -> Connect:
    return lambda: contextlib.nullcontext(connection)


async def _in_its_transaction(
    connection: Connection, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    async with connection.transaction():
        return await work(connection, *args, **named)


async def _in_its_snapshot(
    connection: Connection, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await work(connection, *args, **named)


async def _by_itself(
    connection: Connection, work: Work[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
) -> Result:
    return await work(connection, *args, **named)


async def _run(
    connect: Connect, run: Callable[..., Awaitable[Result]], work: Work[Arguments, Result],
    *args: Arguments.args, **named: Arguments.kwargs,
) -> Result:  # fmt: skip
    for tries_left in reversed(range(_TRIES)):
        try:
            async with connect() as connection:
                try:
                    return await run(connection, work, *args, **named)
                except asyncpg.ReadOnlySQLTransactionError:
                    # Its server is no primary any more: the next connection goes to whoever is.
                    connection.terminate()
                    raise
        except _RETRIABLE:
            if not tries_left:
                raise
        except STATEMENTS_LOST as error:
            raise statements_lost() from error
        except POSTGRES_AWAY as error:
            raise PostgresUnavailable(postgres_reason(error).text) from error
    raise AssertionError("unreachable")


async def _nothing_to_reset(connection: Any) -> None:
    """Skip asyncpg's own reset, a round trip: whatever we set on a connection lasts for a transaction only."""


async def _set_json_codec(connection: Any) -> None:
    """Read and write jsonb as Postgres sends it: a byte for its version, then the text."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",  # a row within a row can be read in no other
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda value: orjson.loads(value[1:]),
    )
