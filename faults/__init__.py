"""Tools that break the service on purpose, and an oracle that judges the result. They are not part of the product."""
