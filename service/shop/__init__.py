"""Calls that this service makes to the shop."""
