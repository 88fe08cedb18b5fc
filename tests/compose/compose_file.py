"""Read docker-compose.yml as `docker compose` does: merged, and with its variables filled in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docker-compose.yml").read_text("utf-8")
EXAMPLE = (REPOSITORY / ".env.example").read_text("utf-8")

# The file uses only ${NAME}, ${NAME:-default} and ${NAME:?sentence}.
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")

VARIABLES = {name for name, _, _ in _VARIABLE.findall(TEXT)}
REQUIRED = {name for name, mark, _ in _VARIABLE.findall(TEXT) if mark == "?"}

VALUES = {
    "POSTGRES_PASSWORD": "pgpassword",
    "REDIS_PASSWORD": "redispassword",
    "SERVICE_KEYS": "key-1,key-2",
    "PORTONE_IMP_KEY": "imp_key",
    "PORTONE_IMP_SECRET": "imp_secret",
}


class Missing(Exception):
    """A required variable is missing, and `docker compose` would stop. The message is the file's own sentence."""


def read(values: Mapping[str, str] = VALUES) -> dict[str, Any]:
    """Return the file with these values filled in. Raises Missing."""
    loaded: dict[str, Any] = _filled(yaml.safe_load(TEXT), values)
    return loaded


def _filled(node: Any, values: Mapping[str, str]) -> Any:
    match node:
        case dict():
            return {key: _filled(value, values) for key, value in node.items() if not key.startswith("x-")}
        case list():
            return [_filled(value, values) for value in node]
        case str():
            return _VARIABLE.sub(lambda match: _value(match, values), node)
        case _:
            return node


def _value(match: re.Match[str], values: Mapping[str, str]) -> str:
    name, mark, text = match.groups()
    value = values.get(name, "")
    if not value and mark == "?":
        raise Missing(text)
    return value or (text if mark == "-" else "")


def environment(service: str, values: Mapping[str, str] = VALUES) -> dict[str, str]:
    """Return a service's environment. A name without a value is passed on if it has one here."""
    named = read(values)["services"][service].get("environment", {})
    return {
        name: str(values[name] if value is None else value)
        for name, value in named.items()
        if value is not None or name in values
    }
