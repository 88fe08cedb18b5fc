"""The receiver's HTTP side. Handlers parse a request, call one use case and answer; they hold no rules and no SQL."""
