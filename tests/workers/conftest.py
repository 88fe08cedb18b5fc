"""A worker is tested with the same parts as the service."""

from tests.service.conftest import _logs, receiver, service

__all__ = ["_logs", "receiver", "service"]
