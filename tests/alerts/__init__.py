"""The alerts: their queries, their pages in the runbook, and that a fault of each kind fires them."""
