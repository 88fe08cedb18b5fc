"""The alternatives, each at its best sensible settings, doing the same work: look, compare, commit the order."""
