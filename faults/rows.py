"""Databases that refuse rows which no code of the service may write, also where its own tables would take them."""

from pathlib import Path

import asyncpg

from service.db.migrate import migrate

RULES = Path(__file__).with_suffix(".sql")


async def migrate_strictly(database_url: str) -> None:
    """Migrate a new database, and add the rules of `rows.sql`."""
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(RULES.read_text("utf-8"))
    finally:
        await connection.close()
