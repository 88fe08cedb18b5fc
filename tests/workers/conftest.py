"""A worker is tested with the same parts as the service."""

from tests.service.conftest import receiver, service

__all__ = ["receiver", "service"]
