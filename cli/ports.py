"""Ports: free ones to take, taken ones to complain about."""

import secrets
import socket
from contextlib import suppress
from pathlib import Path

from cli.errors import CommandFailed
from cli.files import read_or_none, write_private

# Below those that systems give to outgoing connections: none of these can take a server's port while it restarts,
# nor can a client that keeps trying to reach it connect to itself.
_RANGE = range(20_000, 30_000)
_TRIES = 100


def try_port(host: str, port: int) -> None:
    """Raise OSError unless a server could listen there now."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def free_port(*wanted: int) -> int:
    """A free loopback port: the first of those wanted that is, else any."""
    for port in [*wanted, *secrets.SystemRandom().sample(_RANGE, _TRIES)]:
        with suppress(OSError):
            try_port("127.0.0.1", port)
            return port
    raise CommandFailed(f"No port from {_RANGE.start} to {_RANGE.stop} is free on 127.0.0.1: stop what has them.")


def remembered_port(path: Path) -> int:
    """The loopback port of last time, so that addresses stay; another one when somebody has taken it."""
    known = read_or_none(path) or ""
    port = free_port(*([int(known)] if known.isdigit() else []))
    if str(port) != known:
        write_private(path, str(port))
    return port
