"""The console: pages for the people who run the service, at `/console` (docs/console.md)."""
