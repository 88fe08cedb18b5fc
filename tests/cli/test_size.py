"""The command that says what a million orders take."""

import json

from service.db.pool import Pool
from tests.cli.test_operator import environment, run

__all__ = ["environment"]  # the fixture

_ORDERS = """
    INSERT INTO orders (merchant_uid, amount, currency, expires_at, state)
    SELECT 'order-' || n, 100, 'KRW', now(), 'pending' FROM generate_series(1, 2000) AS n
"""


async def test_sizes_are_those_of_the_disk(environment: dict[str, str], pool: Pool) -> None:
    """Each table is listed with its rows and bytes, and of enough orders the command says what a million take."""
    await pool.execute(_ORDERS)
    await pool.execute("ANALYZE orders")
    _, output = await run(environment, "size", "--json")
    sizes = json.loads(output)
    [orders] = [table for table in sizes["tables"] if table["name"] == "orders"]
    total = await pool.fetchval("SELECT pg_table_size('orders') + pg_indexes_size('orders')")
    assert (orders["rows"], orders["table_bytes"] + orders["index_bytes"]) == (2000, total)
    assert sizes["orders"] == 2000
    assert sizes["bytes"] == sum(table["table_bytes"] + table["index_bytes"] for table in sizes["tables"])
    assert sizes["bytes_per_order"] == sizes["bytes"] / 2000
    _, output = await run(environment, "size")
    [line] = [line for line in output.splitlines() if line.startswith("orders\t")]
    assert line.split("\t")[1] == "2,000"
    assert f"A million orders take {sizes['bytes'] / 2000 / 1e3:,.2f} GB." in output
