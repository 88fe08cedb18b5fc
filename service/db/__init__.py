"""Postgres is the memory. One module a table; no function here commits: the caller owns the transaction."""
