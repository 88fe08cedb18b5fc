"""The rules: pure, total, and built on the standard library alone."""
