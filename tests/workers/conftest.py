"""Fixtures of the workers' tests, which are those of the service's tests."""

from tests.service.conftest import receiver, service

__all__ = ["receiver", "service"]
