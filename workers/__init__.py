"""What arq needs: settings, tasks, cron lines, and the worker that outlives Redis."""
