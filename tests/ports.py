"""Ports that no other test takes: each pytest process goes through its own range.

A port that was free a moment ago may be taken by the time it is used. These ranges are below the one from which the
embedded databases take a port at random, and below the ports of outgoing connections.
"""

import itertools
import os
from contextlib import suppress

from cli.ports import try_port

_FIRST, _EACH, _PROCESSES = 10_000, 600, 16
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_ports = itertools.cycle(range(_FIRST + _process * _EACH, _FIRST + (_process + 1) * _EACH))


def own_port() -> int:
    """Return a loopback port on which nothing listens."""
    for port in itertools.islice(_ports, _EACH):
        with suppress(OSError):
            try_port("127.0.0.1", port)
            return port
    raise RuntimeError(f"all {_EACH} ports of this process are taken")
