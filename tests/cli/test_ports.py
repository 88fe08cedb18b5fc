"""Ports for servers that do not listen yet."""

import pytest

from cli import ports


def test_no_port_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers whose ports are drawn before either listens get different ones."""
    monkeypatch.setattr(ports, "_drawn", set())
    monkeypatch.setattr(ports, "_RANGE", range(29_000, 29_120))
    drawn = [ports.free_port() for _ in range(20)]
    assert len(set(drawn)) == 20
