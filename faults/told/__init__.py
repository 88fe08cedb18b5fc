"""Outgoing webhooks through endpoints that fail in every way: `python -m faults.told`."""
