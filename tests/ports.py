"""Ports that no other test takes: each pytest process goes through a range of its own.

A port that was free a moment ago may be another's by the time it is used. These lie below those from which the
embedded stores take one at random, and below those that systems give to outgoing connections.
"""

import itertools
import os
from contextlib import suppress

from cli.ports import try_port

_FIRST, _EACH, _PROCESSES = 10_000, 600, 16
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_ports = itertools.cycle(range(_FIRST + _process * _EACH, _FIRST + (_process + 1) * _EACH))


def own_port() -> int:
    """A loopback port on which nothing listens."""
    for port in itertools.islice(_ports, _EACH):
        with suppress(OSError):
            try_port("127.0.0.1", port)
            return port
    raise RuntimeError(f"all {_EACH} ports of this process are taken")
