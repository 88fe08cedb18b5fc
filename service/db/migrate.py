"""Plain numbered SQL, applied once each, under a lock, safe from several processes at once."""

from importlib import resources

import asyncpg

# Any number will do that no other program on the same database takes for its own advisory lock.
_LOCK = 7_262_411


async def migrate(database_url: str) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; returns the names of those applied."""
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations")}
        missing = [file for file in _files() if file.name not in done]
        for file in missing:
            async with connection.transaction():
                await connection.execute(file.read_text("utf-8"))
                await connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", file.name)
        return [file.name for file in missing]
    finally:
        await connection.close()  # which also gives the lock back


def _files() -> list[resources.abc.Traversable]:
    folder = resources.files("service.db") / "migrations"
    return sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda file: file.name)
