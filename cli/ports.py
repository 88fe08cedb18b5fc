"""Find free ports, and detect taken ones."""

import secrets
import socket
from contextlib import suppress
from pathlib import Path

from cli.errors import CommandFailed
from cli.files import read_or_none, write_private

# Below the ports of outgoing connections. Otherwise such a connection could take a server's port while it restarts,
# and a client that keeps trying to reach the server could connect to itself.
_RANGE = range(20_000, 30_000)
_TRIES = 100
# A process that starts several servers draws all their ports before any of them listens.
_drawn: set[int] = set()


def try_port(host: str, port: int) -> None:
    """Raise OSError unless a server could listen on this port now."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def free_port(*preferred: int) -> int:
    """Return a free loopback port: the first free one of those preferred, or else any that was not drawn before."""
    others = [port for port in secrets.SystemRandom().sample(_RANGE, _TRIES) if port not in _drawn]
    for port in [*preferred, *others]:
        with suppress(OSError):
            try_port("127.0.0.1", port)
            _drawn.add(port)
            return port
    raise CommandFailed(f"No port from {_RANGE.start} to {_RANGE.stop} is free on 127.0.0.1: free one of them.")


def remembered_port(path: Path, *preferred: int) -> int:
    """Return the loopback port of the last run, so that addresses stay, or another one if it is taken."""
    last_port = read_or_none(path) or ""
    port = free_port(*([int(last_port)] if last_port.isdigit() else preferred))
    if str(port) != last_port:
        write_private(path, str(port))
    return port
