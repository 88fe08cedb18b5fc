"""Tools that break the service on purpose, and an oracle that says whether it held. Not part of the product."""
