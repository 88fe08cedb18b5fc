"""Find the service and the sandbox that commands talk to: in the environment, or as a running `dev`."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cli.files import read_or_none
from cli.processes import birth
from service.database_url import places
from service.redis_url import read_redis_url
from service.settings import Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def reachable_host(settings: Settings) -> str:
    """Return the host at which this machine reaches the receiver."""
    return _ANYWHERE.get(settings.host, settings.host)


def place(url: str) -> str:
    """Return the address of a server, or of several, without a password."""
    if url.startswith("postgres"):
        return places(url)
    if url.startswith(("redis", "unix:")):
        return read_redis_url(url).place
    parts = urlsplit(url)
    return f"{parts.hostname or 'a socket'}{f':{parts.port}' if parts.port else ''}{parts.path}"


def receiver_url(settings: Settings) -> str:
    host = reachable_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def sandbox_url(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.sandbox_port}"


def shop_pages(settings: Settings, sandbox: str) -> dict[str, str]:
    """Return the settings that let the shop in the sandbox call the receiver.

    Redirected payments end there, unless another page was given.
    """
    by_name = sandbox.replace("127.0.0.1", "localhost")
    return {
        "CORS_ORIGINS": ",".join(dict.fromkeys((*settings.cors_origins, sandbox, by_name))),
        "RETURN_URL": settings.return_url or f"{sandbox}/shop/return",
    }


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses and keys that a command needs. `database_url` and `service_key` are empty if unknown."""

    base_url: str
    service_key: str
    sandbox_url: str
    database_url: str

    @classmethod
    def find(cls, settings: Settings) -> Self:
        """Find BASE_URL, SERVICE_KEY, SANDBOX_URL and DATABASE_URL, each in the first source that knows it.

        A BASE_URL in the shell names another service than the `dev` that may run here. Then the key and the
        database of that `dev` are not used.
        """
        dev_values = running_dev_values(settings.state_dir)
        service_values = {} if os.environ.get("BASE_URL") else dev_values
        keys = [key.get_secret_value() for key in settings.service_keys[:1]]
        return cls(
            base_url=_first("BASE_URL", service_values, receiver_url(settings)).rstrip("/"),
            service_key=_first("SERVICE_KEY", service_values, *keys),
            sandbox_url=_first("SANDBOX_URL", dev_values, sandbox_url(settings)).rstrip("/"),
            database_url=_first("DATABASE_URL", service_values, settings.database_url.get_secret_value()),
        )


def _first(name: str, values: dict[str, str], *defaults: str) -> str:
    candidates = (os.environ.get(name), values.get(name), *defaults)
    return next((value for value in candidates if value), "")


def running_dev_values(state_dir: Path) -> dict[str, str]:
    """Return the variables of a running `dev`'s env file; none if no `dev` runs."""
    pid = read_or_none(state_dir / "lock") or ""
    if not (pid.isdigit() and birth(int(pid))):
        return {}
    words = shlex.split(read_or_none(state_dir / "env") or "")
    return dict(word.split("=", 1) for word in words if "=" in word)
