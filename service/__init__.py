"""The receiver, and all that it shares with the workers."""
