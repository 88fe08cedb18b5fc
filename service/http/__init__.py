"""The receiver over HTTP: handlers parse and answer; they hold no rules and no SQL."""
