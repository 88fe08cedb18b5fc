"""Choose the settings of an operator's command: those of a running `dev`, unless another service is meant.

The commands that run a part of the service (`serve`, `worker`, `migrate`) use only the environment and `.env`.
"""

import json
import os
from collections.abc import Mapping

import typer

from cli.addresses import running_dev_values, shop_pages
from service.settings import Settings

_DATABASES = ("DATABASE_URL", "REDIS_URL")


def load_settings() -> Settings:
    """Load the settings. A line on standard error says where they come from, if there was a choice, or none at all."""
    settings, source = load_with_source()
    if running_dev_values(settings.state_dir):
        typer.echo(source, err=True)
    elif not any(getattr(settings, name.lower()).get_secret_value() for name in _DATABASES):
        typer.echo(_nothing_here(settings), err=True)
    return settings


def load_with_source() -> tuple[Settings, str]:
    """Load the settings. Returns them and a sentence that says where they come from.

    The environment counts first, then the env file of a running `dev`, then `.env`. If the environment or `.env`
    names another database, another service is meant: then nothing of the `dev` is used.
    """
    settings = Settings.load()
    dev_values = running_dev_values(settings.state_dir)
    from_dev = bool(dev_values) and not _means_another(settings, dev_values)
    source = _sentence(settings, dev_values, from_dev=from_dev)
    return (Settings.load(**_values_of_dev(settings, dev_values)) if from_dev else settings), source


def _means_another(settings: Settings, dev_values: Mapping[str, str]) -> bool:
    urls = {name: getattr(settings, name.lower()).get_secret_value() for name in _DATABASES}
    return any(url and url != dev_values.get(name) for name, url in urls.items())


def _values_of_dev(settings: Settings, dev_values: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {
        name.lower(): json.loads(value) if name == "PORTONE_ACCOUNTS" else value
        for name, value in dev_values.items()
        if name.lower() in Settings.model_fields and not os.environ.get(name)
    }
    if not settings.service_keys:
        values["service_keys"] = dev_values["SERVICE_KEY"]
    sandbox = dev_values.get("SANDBOX_URL")
    return values | {name.lower(): value for name, value in (shop_pages(settings, sandbox) if sandbox else {}).items()}


def _nothing_here(settings: Settings) -> str:
    return (
        f"No `make run` is running in {settings.state_dir.absolute()}: start it in another terminal,"
        " or name the databases of the service that you mean in DATABASE_URL and REDIS_URL."
    )


def _sentence(settings: Settings, dev_values: Mapping[str, str], *, from_dev: bool) -> str:
    where = settings.state_dir.absolute()
    if from_dev:
        return f"Databases, PortOne and keys come from the `make run` in {where}; the rest: environment and .env."
    if dev_values:
        return f"Settings come from the environment and .env; the databases are not those of the `make run` in {where}."
    return f"Settings come from the environment and .env; no `make run` is running in {where}."
