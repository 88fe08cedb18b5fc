"""Whose settings an operator's command takes: those of a running `dev` where no other service is meant, and it says so.

The commands that run a part of the service (`serve`, `worker`, `migrate`) take the environment's and `.env`'s alone.
"""

import json
import os
from collections.abc import Mapping

import typer

from cli.addresses import of_running_dev
from service.settings import Settings

_STORES = ("DATABASE_URL", "REDIS_URL")


def load_settings(*, always_say: bool = False) -> Settings:
    """The settings, and a line beside the output that says whose they are, if there was a choice.

    What the environment sets counts first, then what a running `dev` wrote for others, then `.env`. With a store
    of its own the environment, or `.env`, means another service: then nothing of `dev`'s is taken.
    """
    settings = Settings.load()
    told = of_running_dev(settings.state_dir)
    ours = bool(told) and not _means_another(settings, told)
    if told or always_say:
        typer.echo(_sentence(settings, told, ours=ours), err=True)
    return Settings.load(**_given(settings, told)) if ours else settings


def _means_another(settings: Settings, told: Mapping[str, str]) -> bool:
    given = {name: getattr(settings, name.lower()).get_secret_value() for name in _STORES}
    return any(url and url != told.get(name) for name, url in given.items())


def _given(settings: Settings, told: Mapping[str, str]) -> dict[str, object]:
    given: dict[str, object] = {
        name.lower(): json.loads(value) if name == "PORTONE_ACCOUNTS" else value
        for name, value in told.items()
        if name.lower() in Settings.model_fields and not os.environ.get(name)
    }
    return given if settings.service_keys else given | {"service_keys": told["SERVICE_KEY"]}


def _sentence(settings: Settings, told: Mapping[str, str], *, ours: bool) -> str:
    where = settings.state_dir.absolute()
    if ours:
        return f"Stores, PortOne and keys are those of the `make run` in {where}; the rest: environment and .env."
    if told:
        return f"From the environment and .env, whose stores are not those of the `make run` in {where}."
    return f"From the environment and .env; no `make run` is running in {where}."
