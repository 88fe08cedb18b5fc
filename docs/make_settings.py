"""Writes what names every setting, from the code: `python -m docs.make_settings`.

That is the README's table, and docker-compose.yml's list of what is passed on into the containers.
"""

from pathlib import Path

from pydantic import SecretStr

from service.settings import Settings

REPOSITORY = Path(__file__).parents[1]
_MADE = "made by `python -m docs.make_settings`"
_END = "end of what is made"

# Each has its own line in docker-compose.yml, or is nothing to choose for whoever runs containers.
_NOT_PASSED_ON = {"host", "port", "sandbox_port", "state_dir", "time_scale"} | {
    "database_url",
    "redis_url",
    "portone_imp_key",
    "portone_imp_secret",
    "service_keys",
}


def table() -> str:
    """Each setting with its default and meaning, in the order of the class."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = _shown(field.default)
        lines.append(f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |")
    return "\n".join(lines) + "\n"


def passed_on() -> str:
    """The settings that a container is given as they are."""
    return "".join(f"  {name.upper()}:\n" for name in sorted(Settings.model_fields) if name not in _NOT_PASSED_ON)


def pages() -> dict[Path, str]:
    """Each file, as it should read."""
    readme, compose = REPOSITORY / "README.md", REPOSITORY / "docker-compose.yml"
    return {
        readme: _with(readme.read_text("utf-8"), f"<!-- {_MADE} -->\n", table(), f"<!-- {_END} -->\n"),
        compose: _with(compose.read_text("utf-8"), f"  # {_MADE}\n", passed_on(), f"  # {_END}\n"),
    }


def _with(text: str, begin: str, made: str, end: str) -> str:
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"a file has lost its line {begin!r} or {end!r}")
    return before + begin + made + end + after


def _shown(default: object) -> str:
    match default:
        case SecretStr():
            return default.get_secret_value()
        case tuple():
            return ",".join(str(part) for part in default)
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}" if default < 100_000 else f"{default:.0f}"
        case _:
            return str(default)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
