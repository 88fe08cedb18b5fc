"""`portone-orders keys`: make, list and revoke the keys with which other services call."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer

from cli.errors import CommandFailed
from cli.operator import Who, Why, me
from cli.output import AsJson, print_json, print_table
from cli.settings_source import load_settings
from service.db import operator_actions, service_keys
from service.db.pool import Connection, in_transaction, open_pool
from service.db.service_keys import KEYS_MAX, ListedKey, NewKey
from service.domain.service_key import Scope, digest_of

app = typer.Typer()

Result = TypeVar("Result")

# Secret scanners find a leaked key by its beginning. People know it by these characters, 8 of which are random.
_BEGINNING = "pok_"
_PREFIX_LENGTH = 12
_RANDOM_BYTES = 32

_COLUMNS = ("key", "name", "scopes", "created", "expires", "last used", "state")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The service that will use the key.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give one or more.")],
    days: Annotated[int, typer.Option(min=0, max=3_650, help="Days until it expires; 0: never.")] = 365,
    who: Who = "",
) -> None:
    """Make a key and print it, this once: only its digest is kept. It works at once.

    Example: portone-orders keys create shipping --scope orders:read --scope events:read
    """
    if not 1 <= len(name.strip()) <= 100:
        raise CommandFailed("Give the key a name of 1 to 100 characters.")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    key = _BEGINNING + secrets.token_urlsafe(_RANDOM_BYTES)
    new = NewKey(key[:_PREFIX_LENGTH], digest_of(key.encode()), name.strip(), set(scope), expires_at)
    if not _run(lambda db: _insert(db, new, who or me())):
        raise CommandFailed(f"There are {KEYS_MAX} keys already: revoke those that nobody uses.")
    typer.echo(f"Keep this key of {new.name}: it is not shown again. It expires {_day(expires_at)}.", err=True)
    typer.echo(key)


@app.command("list")
def list_keys(
    ended: Annotated[bool, typer.Option("--all", help="Also those that were revoked or have expired.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the keys, the newest first: each by its beginning, with the time of its last use to the minute or two.

    Those of SERVICE_KEYS are not among them.
    """
    keys = _run(lambda db: service_keys.listed(db, ended=ended))
    if as_json:
        print_json({"keys": keys})
        return
    print_table(_COLUMNS, map(_row, keys))
    if not keys:
        typer.echo("There is no key: `portone-orders keys create` makes one.", err=True)


@app.command()
def revoke(
    given: Annotated[
        str,
        typer.Argument(
            help="The key's beginning, as `keys list` shows it, or a name that it has alone.", metavar="KEY"
        ),
    ],
    who: Who = "",
    why: Why = "",
) -> None:
    """End a key for good. Every receiver that reaches Postgres refuses it within 5 seconds.

    Example: portone-orders keys revoke shipping --why "the service is gone"
    """
    if not why.strip():
        raise CommandFailed("Give a reason with --why: it is recorded.")
    beginning, name = _run(lambda db: _revoke(db, given, who or me(), why))
    typer.echo(f"Revoked: {beginning}, the key of {name}.")


async def _insert(db: Connection, key: NewKey, who: str) -> bool:
    inserted = await service_keys.insert(db, key)
    if inserted:
        await operator_actions.append(db, who, f"for {key.name}", "keys.create", [key.prefix])
    return inserted


async def _revoke(db: Connection, given: str, who: str, why: str) -> tuple[str, str]:
    """Revoke a key by its beginning or its name; return both. Raises CommandFailed."""
    # Whoever pastes the whole key means the same, and it must not be recorded.
    prefix = given[:_PREFIX_LENGTH] if given.startswith(_BEGINNING) else await _prefix_of(db, given)
    name = await service_keys.revoke(db, prefix)
    if name is None:
        raise CommandFailed(f"No working key begins with {prefix!r}: see `portone-orders keys list`.")
    await operator_actions.append(db, who, why, "keys.revoke", [prefix])
    return prefix, name


async def _prefix_of(db: Connection, name: str) -> str:
    prefixes = [key.prefix for key in await service_keys.listed(db, ended=False) if key.name == name]
    if len(prefixes) > 1:
        raise CommandFailed(f"{len(prefixes)} keys are called {name!r}: name one of {', '.join(prefixes)}.")
    if not prefixes:
        raise CommandFailed(f"No working key is called {name!r}: see `portone-orders keys list`.")
    return prefixes[0]


def _row(key: ListedKey) -> tuple[str, ...]:
    state = "revoked" if key.revoked_at else "expired" if key.ended else "works"
    used = f"{key.last_used_at.astimezone(UTC):%Y-%m-%d %H:%M}" if key.last_used_at else "never"
    return (key.prefix, key.name, ",".join(key.scopes), _day(key.created_at), _day(key.expires_at), used, state)


def _day(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}" if at else "never"


def _run(work: Callable[[Connection], Awaitable[Result]]) -> Result:
    return asyncio.run(_in_pool(load_settings().require("database_url").database_url.get_secret_value(), work))


async def _in_pool(database_url: str, work: Callable[[Connection], Awaitable[Result]]) -> Result:
    pool = await open_pool(database_url, 1)
    try:
        return await in_transaction(pool, work)
    finally:
        await pool.close()
