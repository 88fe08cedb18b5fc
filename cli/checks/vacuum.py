"""Check that Postgres removes dead rows: tables that only grow make every statement slower, and fill the disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.checks.databases import ask_postgres
from service.db.pool import Connection
from service.settings import Settings

# The tables' own thresholds have autovacuum come long before.
_DEAD_MIN = 100_000
_DEAD_SHARE = 0.5
# No transaction of ours lasts for minutes.
_HELD_SECONDS = 3_600.0
# Postgres stops writing at two thousand million.
_AGE_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Table:
    """A table's rows as Postgres counts them, and whether autovacuum was switched off for it."""

    name: str
    live: int
    dead: int
    switched_off: bool


@dataclass(frozen=True, slots=True)
class OldTransaction:
    """The longest open transaction in this database. While it is open, no row that died since can be removed."""

    pid: int
    application: str
    seconds: float


@dataclass(frozen=True, slots=True)
class VacuumFacts:
    """Postgres' account of its vacuuming. `off`: the settings that keep autovacuum from running at all."""

    off: Sequence[str]
    tables: Sequence[Table]
    oldest: OldTransaction | None
    age: int


async def check_vacuum(settings: Settings) -> list[str]:
    """Check that autovacuum runs and keeps up, and that nothing keeps it from removing rows."""
    return vacuum_faults(await ask_postgres(settings, _read))


def vacuum_faults(facts: VacuumFacts) -> list[str]:
    """Return a sentence for each fault."""
    faults = [f"Postgres' setting {name} is off, so dead rows stay: switch it on." for name in facts.off]
    for table in facts.tables:
        if table.switched_off:
            alter = f"ALTER TABLE {table.name} RESET (autovacuum_enabled)"
            faults.append(f"Autovacuum is switched off for the table {table.name}: run {alter}.")
        if table.dead > max(_DEAD_MIN, _DEAD_SHARE * table.live):
            share = f"{table.dead:,} dead rows beside {table.live:,} live ones"
            faults.append(
                f"The table {table.name} has {share}: run VACUUM {table.name}, and give autovacuum more workers."
            )
    if facts.oldest and facts.oldest.seconds > _HELD_SECONDS:
        who = f"pid {facts.oldest.pid} ({facts.oldest.application or 'without a name'})"
        faults.append(
            f"The transaction of {who} has been open for {facts.oldest.seconds / 3600:.0f} h, and no dead row can be"
            f" removed meanwhile: end it there, or with SELECT pg_terminate_backend({facts.oldest.pid})."
        )
    if facts.age > _AGE_MAX:
        faults.append(
            f"The database's oldest row is {facts.age:,} transactions old, and beyond 2,000,000,000 Postgres stops"
            " writing: run VACUUM FREEZE, and find out what keeps autovacuum from it."
        )
    return faults


async def _read(db: Connection) -> VacuumFacts:
    off = await db.fetch(
        "SELECT name FROM pg_settings WHERE name IN ('autovacuum', 'track_counts') AND setting = 'off' ORDER BY name"
    )
    tables = await db.fetch(
        """
        SELECT s.relname AS name, s.n_live_tup AS live, s.n_dead_tup AS dead,
               coalesce(c.reloptions, '{}') && ARRAY['autovacuum_enabled=false', 'autovacuum_enabled=off']
                   AS switched_off
        FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
        ORDER BY s.relname
        """
    )
    oldest = await db.fetchrow(
        """
        SELECT pid, coalesce(application_name, '') AS application,
               extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
        FROM pg_stat_activity
        WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
          AND backend_type = 'client backend'
        ORDER BY xact_start LIMIT 1
        """
    )
    age: int = await db.fetchval("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    return VacuumFacts(
        [row["name"] for row in off],
        [Table(**row) for row in tables],
        OldTransaction(**oldest) if oldest else None,
        age,
    )
