"""Where the service and the sandbox are that commands talk to: the environment says, else a running `dev`."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cli.files import read_or_none
from cli.processes import birth
from service.settings import Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def reachable_host(settings: Settings) -> str:
    """Where the receiver is reached from this machine."""
    return _ANYWHERE.get(settings.host, settings.host)


def receiver_url(settings: Settings) -> str:
    host = reachable_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def sandbox_url(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.sandbox_port}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """`database_url` and `service_key` are empty where nobody said."""

    base_url: str
    service_key: str
    sandbox_url: str
    database_url: str

    @classmethod
    def find(cls, settings: Settings) -> Self:
        """BASE_URL, SERVICE_KEY, SANDBOX_URL and DATABASE_URL, each from the first that knows it.

        With a BASE_URL of its own the shell means another service than the `dev` that may run here: then that
        one's key and database are not taken.
        """
        ours = of_running_dev(settings.state_dir)
        of_service = {} if os.environ.get("BASE_URL") else ours
        keys = [key.get_secret_value() for key in settings.service_keys[:1]]
        return cls(
            base_url=_first("BASE_URL", of_service, receiver_url(settings)).rstrip("/"),
            service_key=_first("SERVICE_KEY", of_service, *keys),
            sandbox_url=_first("SANDBOX_URL", ours, sandbox_url(settings)).rstrip("/"),
            database_url=_first("DATABASE_URL", of_service, settings.database_url.get_secret_value()),
        )


def _first(name: str, told: dict[str, str], *defaults: str) -> str:
    known = (os.environ.get(name), told.get(name), *defaults)
    return next((value for value in known if value), "")


def of_running_dev(state_dir: Path) -> dict[str, str]:
    """What `dev` wrote for others to source, while it runs."""
    pid = read_or_none(state_dir / "lock") or ""
    if not (pid.isdigit() and birth(int(pid))):
        return {}
    words = shlex.split(read_or_none(state_dir / "env") or "")
    return dict(word.split("=", 1) for word in words if "=" in word)
