"""The workers: settings, tasks and cron lines for arq, and a worker that survives a restart of Redis."""
