"""A worker of this harness: the product's own deliveries, in a network of the harness's own making.

`hooks.test` is this machine, which counts as the open internet here; now and then the name resolves to another address
of this machine, which counts as a private network, and where a trap listens.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from service.logs import configure_logs
from service.outgoing import sender
from service.settings import Settings
from service.usecases import delivering, endpoint_turn
from workers.deliveries import delivering as running_deliveries
from workers.metrics import WorkerMetrics

HOST = "hooks.test"
OPEN, PRIVATE = "127.0.0.1", "127.0.0.2"
_PRIVATE_SHARE = 0.3
_LEASE = timedelta(seconds=4)
_MARGIN = timedelta(seconds=1)
_RESOLVED_SECONDS = 0


def _own_network() -> None:
    """Have names resolve as this harness wants, each time again, and shorten the waits for a killed worker."""
    real: Callable[..., Any] = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **named: Any) -> Any:
        if host != HOST:
            return real(host, *args, **named)
        return real(PRIVATE if random.random() < _PRIVATE_SHARE else OPEN, *args, **named)  # noqa: S311

    for module, name, value in (
        (socket, "getaddrinfo", resolve),
        (sender, "is_public", lambda address: address == OPEN),
        (sender, "_RESOLVED_SECONDS", _RESOLVED_SECONDS),
        (delivering, "_LEASE", _LEASE),
        (endpoint_turn, "_LINGERING_MARGIN", _MARGIN),
    ):
        setattr(module, name, value)


async def _work() -> None:
    async with running_deliveries(Settings.load(), WorkerMetrics()):
        await asyncio.Event().wait()


def main() -> None:
    _own_network()
    configure_logs(logging.ERROR)
    asyncio.run(_work())


if __name__ == "__main__":
    main()
