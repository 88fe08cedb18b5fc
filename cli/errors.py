"""The error of a command that gives up, and the sentences for errors of libraries."""

import sys

from service.settings import SettingsError


class CommandFailed(Exception):
    """A command gave up. The message is one sentence that says what to do."""


# By name, because a command may not have loaded the library, and a library that was never loaded raised nothing.
_LIBRARY_ERRORS = {
    ("service.errors", "PostgresUnavailable"): "{}: check DATABASE_URL.",
    ("service.errors", "RedisUnavailable"): "{}: check REDIS_URL.",
    ("service.errors", "MigrationRefused"): "{}.",
    ("asyncpg", "PostgresError"): "Postgres refused: {}. Check DATABASE_URL.",
    ("asyncpg", "InterfaceError"): "Postgres cannot be used: {}. Check DATABASE_URL.",
    ("redis.exceptions", "AuthenticationError"): "Redis refused the password: {}. Check REDIS_URL.",
    ("redis.exceptions", "RedisError"): "Redis cannot be used: {}. Check REDIS_URL.",
    ("aiohttp", "ClientError"): "The call failed: {}. Check the address.",
}


def in_a_sentence(error: BaseException) -> str | None:
    """Return the sentence for the user, or None for a fault in this program."""
    if isinstance(error, SettingsError | CommandFailed):
        return str(error)
    for (module, name), sentence in _LIBRARY_ERRORS.items():
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return sentence.format(_first_line(error))
    if isinstance(error, TimeoutError):
        return "No answer came in time: check that the servers in DATABASE_URL and REDIS_URL are reachable."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or _first_line(error)}."
    return None


def exit_code(error: BaseException) -> int:
    return 2 if isinstance(error, SettingsError) else 1


def _first_line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
