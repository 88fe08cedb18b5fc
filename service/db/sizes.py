"""The sizes of the tables and of their indexes, as Postgres has them on its disk."""

from dataclasses import dataclass
from datetime import datetime

from service.db.pool import Connection


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table on the disk. `rows` and `dead_rows` are estimates, because counting reads the table."""

    name: str
    rows: int
    dead_rows: int
    table_bytes: int
    index_bytes: int
    vacuumed_at: datetime | None

    @property
    def bytes(self) -> int:
        return self.table_bytes + self.index_bytes


async def read(db: Connection) -> list[TableSize]:
    """Return the size of each table, the largest first."""
    rows = await db.fetch(
        """
        SELECT s.relname::text AS name, greatest(s.n_live_tup, 0)::bigint AS rows, s.n_dead_tup::bigint AS dead_rows,
               pg_table_size(s.relid) AS table_bytes, pg_indexes_size(s.relid) AS index_bytes,
               greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at
        FROM pg_stat_user_tables s WHERE s.schemaname = current_schema()
        ORDER BY pg_total_relation_size(s.relid) DESC, s.relname
        """
    )
    return [TableSize(**row) for row in rows]
