"""`portone-orders size`: how large each table is, and what a million orders take."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from cli.output import AsJson, print_json, print_table
from cli.settings_source import load_settings

if TYPE_CHECKING:
    from service.db.sizes import TableSize

_COLUMNS = ("table", "rows", "MB", "indexes MB", "bytes a row", "MB per million orders")
# Of fewer orders the empty tables' pages say more than the rows.
_ORDERS_MIN = 1_000


def size(as_json: AsJson = False) -> None:
    """Print how large each table and its indexes are, and what a million orders take. Rows are estimates.

    Example: portone-orders size
    """
    tables = asyncio.run(_read())
    orders = _orders(tables)
    if as_json:
        print_json(_summary(tables, orders))
        return
    print_table(_COLUMNS, [_row(table, orders) for table in tables if table.rows])
    total = sum(table.bytes for table in tables)
    typer.echo(f"All tables: {total / 1e6:,.0f} MB, with {orders:,} orders.", err=True)
    if orders >= _ORDERS_MIN:
        typer.echo(f"A million orders take {total / orders / 1e3:,.2f} GB.", err=True)


async def _read() -> "list[TableSize]":
    from service.db import sizes
    from service.db.pool import in_statement, open_pool

    settings = load_settings().require("database_url")
    pool = await open_pool(settings.database_url.get_secret_value(), 1)
    try:
        return await in_statement(pool, sizes.read)
    finally:
        await pool.close()


def _orders(tables: "Sequence[TableSize]") -> int:
    return sum(table.rows for table in tables if table.name == "orders")


def _summary(tables: "Sequence[TableSize]", orders: int) -> dict[str, Any]:
    total = sum(table.bytes for table in tables)
    return {
        "orders": orders,
        "bytes": total,
        "bytes_per_order": total / orders if orders >= _ORDERS_MIN else None,
        "tables": [asdict(table) for table in tables],
    }


def _row(table: "TableSize", orders: int) -> tuple[str, ...]:
    return (
        table.name,
        f"{table.rows:,}",
        f"{table.table_bytes / 1e6:,.1f}",
        f"{table.index_bytes / 1e6:,.1f}",
        f"{table.bytes / table.rows:,.0f}",
        f"{table.bytes / orders:,.0f}" if orders >= _ORDERS_MIN else "-",
    )
