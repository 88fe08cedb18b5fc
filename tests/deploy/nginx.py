"""Debian's nginx with deploy/nginx/portone-orders.conf, on ports of the test's own."""

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from aiohttp import ClientSession, TCPConnector

from faults.nginx import find_nginx, nginx_words, receivers_at
from tests.certificates import make_certificate
from tests.ports import own_port
from tests.running import RunningService, until

MISSING = "The tests of nginx need it and openssl on Linux: `make nginx` installs both."
_CONNECTIONS = 1024


@dataclass(frozen=True)
class Nginx:
    """A running nginx. `folder` has its logs."""

    process: asyncio.subprocess.Process
    port: int
    folder: Path
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def reload(self) -> None:
        """Let new workers take over, as `nginx -s reload` does. Returns once they are there."""
        old = self.workers()

        async def has_new() -> bool:
            return bool(self.workers() - old)

        self.process.send_signal(signal.SIGHUP)
        await until(has_new)

    @contextlib.asynccontextmanager
    async def caller(self, address: str = "127.0.0.2", *, for_each_call: bool = False) -> AsyncIterator[RunningService]:
        """Call the service through nginx from an address of this machine that is not the proxy's.

        With `for_each_call` each call has a connection of its own, because a reload closes idle ones.
        """
        connector = TCPConnector(ssl=self.tls, local_addr=(address, 0), limit=0, force_close=for_each_call)
        async with ClientSession(connector=connector) as session:
            yield RunningService(self.url, session)

    def workers(self) -> set[str]:
        """Return the pids of the worker processes."""
        return set(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("utf-8").split())


def require_nginx() -> str:
    """Return nginx's path. Without it the test is skipped, or fails where CI or REQUIRE_NGINX is set."""
    path = find_nginx()
    if path is None or shutil.which("openssl") is None or sys.platform != "linux":
        linux_ci = os.environ.get("CI") == "true" and sys.platform == "linux"
        (pytest.fail if linux_ci or os.environ.get("REQUIRE_NGINX") == "1" else pytest.skip)(MISSING)
    return str(path)


@contextlib.asynccontextmanager
async def running_nginx(
    folder: Path, ports: tuple[int, int], changes: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Nginx]:
    """Run nginx before receivers on these two ports. `changes` are a test's own, to the example."""
    path, port = require_nginx(), own_port()
    make_certificate(folder)
    own = {
        **receivers_at(ports, folder),
        "listen 80;": f"listen 127.0.0.1:{own_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/nginx/orders.shop.example.crt": str(folder / "name.crt"),
        "/etc/nginx/orders.shop.example.key": str(folder / "name.key"),
    }
    process = await asyncio.create_subprocess_exec(*nginx_words(path, folder, {**own, **changes}, _CONNECTIONS))
    try:
        tls = ssl.create_default_context(cafile=folder / "name.crt")
        nginx = Nginx(process, port, folder, tls)
        await until(lambda: _answers(nginx))
        yield nginx
    finally:
        process.terminate()
        await process.wait()


async def _answers(nginx: Nginx) -> bool:
    assert nginx.process.returncode is None, (nginx.folder / "start.log").read_text("utf-8")
    try:
        async with nginx.caller() as caller:
            return (await caller.call("GET", "/healthz"))[0] > 0
    except OSError:
        return False
