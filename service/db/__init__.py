"""Postgres, the memory. One module for each table; no function commits, because the caller owns the transaction."""
