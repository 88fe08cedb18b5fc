"""The explorer: many seeded schedules of the real code in one process, on real Postgres and Redis."""
