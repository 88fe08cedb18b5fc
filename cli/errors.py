"""The error of a command that gives up, and the sentences for errors of libraries."""

import os
import sys
from typing import cast

import typer

from cli.exit_codes import ExitCode
from service.settings import SettingsError


class CommandFailed(Exception):
    """A command gave up. The message is one sentence that says what to do."""


# By name, because a command may not have loaded the library, and a library that was never loaded raised nothing.
_LIBRARY_ERRORS = {
    ("service.errors", "PostgresUnavailable"): "Postgres",
    ("service.errors", "RedisUnavailable"): "Redis",
    ("service.errors", "MigrationRefused"): "",
    ("asyncpg", "PostgresError"): "Postgres",
    ("asyncpg", "InterfaceError"): "Postgres",
    ("redis.exceptions", "RedisError"): "Redis",
    ("aiohttp", "ClientError"): "The call failed",
    ("portone_orders_client.calls", "Refused"): "The service refuses the call",
    ("portone_orders_client.calls", "WrongAnswer"): "",
    ("portone_orders_client.calls", "Unreachable"): "BASE_URL",
}

# typer raises its parser's errors, and exports only this one of them.
_UsageError = typer.BadParameter.__mro__[1]


def in_a_sentence(error: BaseException) -> str | None:
    """Return the sentence for the user, or None for a fault in this program."""
    if isinstance(error, SettingsError | CommandFailed):
        return str(error)
    for (module, name), culprit in _LIBRARY_ERRORS.items():
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return _library_sentence(culprit, error)
    if isinstance(error, TimeoutError):
        return "No answer came in time: run `portone-orders doctor`, which names the culprit."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{os.strerror(error.errno) if error.errno else _first_line(error)}."
    return None


def _library_sentence(culprit: str, error: BaseException) -> str:
    if culprit in ("Postgres", "Redis"):
        from service.reasons import postgres_reason, redis_reason

        reason = (postgres_reason if culprit == "Postgres" else redis_reason)(error)
        return f"{culprit} cannot be used, because {reason.text}: {reason.advice}."
    if culprit == "BASE_URL":
        return f"{_first_line(error)}: start the service, or correct BASE_URL."
    return f"{culprit}: {_first_line(error)}." if culprit else f"{_first_line(error)}."


def usage_sentence(error: Exception) -> str | None:
    """Return the sentence for a command that was called wrongly, or its help if it was called with nothing."""
    if not isinstance(error, _UsageError):
        return None
    refusal = cast("typer.BadParameter", error)
    problem = refusal.format_message().strip()
    if refusal.ctx is None or problem.startswith("Usage:"):
        return problem
    see = f"see `{refusal.ctx.command_path} --help`."
    return f"{problem} {see.capitalize()}" if problem.endswith("?") else f"{problem.rstrip('.')}: {see}"


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for an error: wrong calls and wrong settings are told from what failed."""
    return ExitCode.REFUSED if isinstance(error, SettingsError | _UsageError) else ExitCode.FAILED


def _first_line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
