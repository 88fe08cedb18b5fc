"""Migrations and database functions: plain SQL files, each applied once, even if several processes migrate at once.

How a file changes a large table without a pause is the matter of service/db/online.py.

Every applied file is recorded with its checksum and never changed: a migration is followed by another one, and a
function NAME_v1 by NAME_v2 beside it, because workers of two versions run side by side during an upgrade.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable

import asyncpg

from service.db import online
from service.db.pool import Connection
from service.db.servers import Servers
from service.errors import MigrationRefused

# Any number that no other program uses for an advisory lock in the same database.
_LOCK = 7_262_411
_ASKED_AGAIN_SECONDS = 0.1


async def migrate(database_url: str) -> list[str]:
    """Apply the missing files, each as it says (service/db/online.py). Return their names.

    Raises MigrationRefused, before anything is applied, if a file has changed since it was applied, and UnfitPooler
    where a pooler would keep the lock.
    """
    connection = await Servers(database_url).connect(whole=True, timeout=10)
    try:
        await connection.execute("SET statement_timeout = 0")  # the user may have another, for use behind a pooler
        await _lock(connection)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, checksum text, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        missing = await pending(connection)
        for name, text in missing.items():
            await online.apply(connection, text, partial(_remember, connection, name, checksum(text)))
        return list(missing)
    finally:
        await connection.close()  # also releases the lock


async def _lock(connection: Connection) -> None:
    """Wait until nobody else migrates.

    By asking again and again, because whoever waits inside of Postgres is a transaction, for whose end an index that is
    made concurrently would wait.
    """
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110 - others have it
        await asyncio.sleep(_ASKED_AGAIN_SECONDS)


async def _remember(connection: Connection, name: str, checksum: str) -> None:
    await connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", name, checksum)


async def is_migrated(db: Connection) -> bool:
    """Return whether the database has been migrated. Raises UndefinedTableError if it never was."""
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM schema_migrations)"))


def sql_files() -> dict[str, str]:
    """Return each file's text by its name, in the order in which they are applied: migrations, then functions."""
    package = resources.files("service.db")
    return dict([*_texts(package / "migrations"), *_texts(package / "functions")])


def checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _texts(folder: Traversable) -> Iterable[tuple[str, str]]:
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(f"{folder.name}/{file.name}", file.read_text("utf-8")) for file in files]


async def pending(connection: Connection) -> dict[str, str]:
    """Return the text of each file that is still to be applied, by name. Raises MigrationRefused if one has changed."""
    try:
        rows = await connection.fetch("SELECT name, checksum FROM schema_migrations")
    except asyncpg.UndefinedTableError:
        rows = []
    except asyncpg.UndefinedColumnError:
        raise MigrationRefused(
            "this database was made before the first release; give DATABASE_URL an empty one, or run `make clean`"
        ) from None
    files, applied = sql_files(), {row["name"]: row["checksum"] for row in rows}
    changed = [name for name, text in files.items() if applied.get(name, checksum(text)) != checksum(text)]
    if changed:
        raise MigrationRefused(f"{', '.join(changed)}: restore what was applied, and add a new file for the change")
    return {name: text for name, text in files.items() if name not in applied}
