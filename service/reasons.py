"""Name the culprit when a database cannot be used, and what an operator does about it.

The libraries' own texts ("Connect call failed ('127.0.0.1', 5432)") name neither.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import asyncpg
from redis import exceptions as redis
from redis.asyncio.sentinel import MasterNotFoundError

from service.database_url import Demoted, NoPrimary
from service.errors import UnfitPooler

# What service/redis/connecting.py says if it finds no master.
NO_SENTINEL = "no Sentinel answers"
REFUSED_BY_SENTINELS = "the Sentinels refuse the password"
UNKNOWN_MASTER = "the Sentinels know no master of this name"
MASTER_DOWN = "the Sentinels see the master down"
NO_MASTER = "the server that the Sentinels name is not the master"

# The advice's place for the name of the setting.
_SETTING = "{setting}"


@dataclass(frozen=True, slots=True)
class Reason:
    """A fault of a database, and what to do. `text` alone is fit for a log: it holds no secret."""

    text: str
    advice: str


# By the kind of error, the more special kind first, and by a part of its text where the kind alone does not tell.
_Rule = tuple[type[BaseException], str, Reason]

_NETWORK: Sequence[_Rule] = (
    (socket.gaierror, "", Reason("its host is not known", f"correct the host in {_SETTING}")),
    (
        ConnectionRefusedError,
        "",
        Reason("nothing listens at this address", f"start it, or correct the host and the port in {_SETTING}"),
    ),
    # asyncio's one error for a name with several addresses, each of which refused.
    (
        OSError,
        f"[Errno {errno.ECONNREFUSED}]",
        Reason("nothing listens at this address", f"start it, or correct the host and the port in {_SETTING}"),
    ),
    (ssl.SSLError, "", Reason("the encrypted connection fails", f"correct its certificate, or {_SETTING}")),
    (ConnectionResetError, "", Reason("it breaks off the connection", f"see its log, or correct {_SETTING}")),
    (
        TimeoutError,
        "",
        Reason("it does not answer in time", f"see whether it hangs, or correct the host and the port in {_SETTING}"),
    ),
    (redis.TimeoutError, "", Reason("it does not answer in time", f"see whether it hangs, or correct {_SETTING}")),
)

_POSTGRES: Sequence[_Rule] = (
    (
        asyncpg.InvalidPasswordError,
        "",
        Reason("it refuses the password", f"correct the user and the password in {_SETTING}"),
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "",
        Reason("it does not let this user in", f"correct the user in {_SETTING}, or Postgres' pg_hba.conf"),
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "",
        Reason("it has no database of this name", f"make it, or correct the name at the end of {_SETTING}"),
    ),
    (asyncpg.DiskFullError, "", Reason("its disk is full", "free space on the disk of Postgres")),
    (
        asyncpg.TooManyConnectionsError,
        "",
        Reason("all its connections are taken", "raise its max_connections, or run fewer receivers and workers"),
    ),
    (
        asyncpg.CannotConnectNowError,
        "",
        Reason("it is starting or stopping", "wait until it has started, or see its log: a full disk prevents it"),
    ),
    (asyncpg.ReadOnlySQLTransactionError, "", Reason("it is read-only", f"{_SETTING} must name the primary server")),
    (NoPrimary, "", Reason("it is read-only", f"{_SETTING} must name the primary server")),
    (
        Demoted,
        "",
        Reason("another server was promoted in its place", "stop it, and let it follow the new primary"),
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "",
        Reason("its user has too few rights", f"make the user in {_SETTING} the owner of the tables"),
    ),
    (asyncpg.UndefinedTableError, "", Reason("its tables or functions are missing", "run `portone-orders migrate`")),
    (asyncpg.UndefinedFunctionError, "", Reason("its tables or functions are missing", "run `portone-orders migrate`")),
    (asyncpg.QueryCanceledError, "", Reason("it does not answer in time", "see what keeps Postgres busy")),
)

_REDIS: Sequence[_Rule] = (
    (redis.AuthenticationError, "required", Reason("it wants a password", f"put its password into {_SETTING}")),
    (
        redis.AuthenticationError,
        "without any password",
        Reason("it has no password", f"take the password out of {_SETTING}, or give Redis one"),
    ),
    (redis.AuthenticationError, "", Reason("it refuses the password", f"correct the password in {_SETTING}")),
    (
        redis.NoPermissionError,
        "",
        Reason("its user has too few rights", f"give the user in {_SETTING} the rights to all commands and keys"),
    ),
    (MasterNotFoundError, NO_SENTINEL, Reason("none of its Sentinels answers", f"start them, or correct {_SETTING}")),
    (
        MasterNotFoundError,
        REFUSED_BY_SENTINELS,
        Reason("its Sentinels refuse the password", f"correct sentinel_password in {_SETTING}"),
    ),
    (
        MasterNotFoundError,
        UNKNOWN_MASTER,
        Reason("its Sentinels know no master of this name", f"correct the name after the hosts in {_SETTING}"),
    ),
    (MasterNotFoundError, MASTER_DOWN, Reason("its master is down", "wait until the Sentinels have promoted another")),
    (redis.ConnectionError, NO_MASTER, Reason("its role changes", "wait until the Sentinels have promoted another")),
    (redis.ResponseError, "NOREPLICAS", Reason("it has too few replicas", "start those that it should have")),
    (redis.BusyLoadingError, "", Reason("it is still reading its data", "wait until it has started")),
    (redis.ReadOnlyError, "", Reason("it is read-only", f"{_SETTING} must name the master")),
    (redis.OutOfMemoryError, "", Reason("its memory is full", "raise its maxmemory")),
    (redis.ResponseError, "MISCONF", Reason("it cannot write to its disk", "free space on the disk of Redis")),
    (
        redis.ResponseError,
        "DB index",
        Reason("it has no database of this number", f"correct the number at the end of {_SETTING}"),
    ),
)


def postgres_reason(error: BaseException) -> Reason:
    """Return why Postgres cannot be used."""
    return _reason(error, (*_POSTGRES, *_NETWORK), "DATABASE_URL")


def is_disk_full(error: BaseException) -> bool:
    """Return whether Postgres cannot write because its disk is full. It goes on answering what only reads."""
    return any(isinstance(one, asyncpg.DiskFullError) for one in _chain(error))


def redis_reason(error: BaseException) -> Reason:
    """Return why Redis cannot be used."""
    return _reason(error, (*_REDIS, *_NETWORK), "REDIS_URL")


def _reason(error: BaseException, rules: Sequence[_Rule], setting: str) -> Reason:
    errors = list(_chain(error))
    for one in errors:
        if isinstance(one, UnfitPooler):
            return Reason(one.text, one.advice)
    for kind, part, reason in rules:
        if any(isinstance(one, kind) and part in str(one) for one in errors):
            return Reason(reason.text, reason.advice.replace(_SETTING, setting))
    return Reason(f"it says: {_first_line(errors[-1])}", f"see its log, or correct {setting}")


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts a text of its own in the place of the system's
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it: redis-py wraps the system's error, and we wrap redis-py's."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
