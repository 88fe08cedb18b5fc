"""docker-compose.yml as `docker compose` reads it: merged, and with its variables filled in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docker-compose.yml").read_text("utf-8")
EXAMPLE = (REPOSITORY / ".env.example").read_text("utf-8")

# ${NAME}, ${NAME:-default} and ${NAME:?sentence}: all that the file uses.
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")

VARIABLES = {name for name, _, _ in _VARIABLE.findall(TEXT)}
REQUIRED = {name for name, mark, _ in _VARIABLE.findall(TEXT) if mark == "?"}

GIVEN = {
    "POSTGRES_PASSWORD": "pgpassword",
    "REDIS_PASSWORD": "redispassword",
    "SERVICE_KEYS": "key-1,key-2",
    "PORTONE_IMP_KEY": "imp_key",
    "PORTONE_IMP_SECRET": "imp_secret",
}


class Missing(Exception):
    """A variable without which `docker compose` stops; the message is the file's own sentence."""


def read(given: Mapping[str, str] = GIVEN) -> dict[str, Any]:
    """The file with these variables given. Raises Missing."""
    loaded: dict[str, Any] = _filled(yaml.safe_load(TEXT), given)
    return loaded


def _filled(node: Any, given: Mapping[str, str]) -> Any:
    match node:
        case dict():
            return {key: _filled(value, given) for key, value in node.items() if not key.startswith("x-")}
        case list():
            return [_filled(value, given) for value in node]
        case str():
            return _VARIABLE.sub(lambda found: _value(found, given), node)
        case _:
            return node


def _value(found: re.Match[str], given: Mapping[str, str]) -> str:
    name, mark, text = found.groups()
    value = given.get(name, "")
    if not value and mark == "?":
        raise Missing(text)
    return value or (text if mark == "-" else "")


def environment(service: str, given: Mapping[str, str] = GIVEN) -> dict[str, str]:
    """What a service finds in its environment; a name without a value is passed on if it is given."""
    named = read(given)["services"][service].get("environment", {})
    return {
        name: str(given[name] if value is None else value)
        for name, value in named.items()
        if value is not None or name in given
    }
