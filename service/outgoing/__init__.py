"""Calls to other services' endpoints: outgoing webhooks."""
