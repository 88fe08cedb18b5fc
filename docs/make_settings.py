"""Write the lists of settings from the code: `python -m docs.make_settings`.

The README gets a table of all settings, and docker-compose.yml the list of those that it passes to the containers.
"""

from pathlib import Path

from pydantic import SecretStr

from service.settings import Settings

REPOSITORY = Path(__file__).parents[1]
_MADE = "made by `python -m docs.make_settings`"
_END = "end of what is made"

# Each has its own line in docker-compose.yml, or is not chosen by the person who runs containers.
_NOT_PASSED_ON = {"host", "port", "sandbox_port", "state_dir", "time_scale"} | {
    "database_url",
    "redis_url",
    "portone_imp_key",
    "portone_imp_secret",
    "service_keys",
    "checkout_secrets",
}


def table() -> str:
    """Return a table of all settings with default and meaning, in the order of the class."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = _as_text(field.default)
        lines.append(f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |")
    return "\n".join(lines) + "\n"


def passed_on() -> str:
    """Return the names of the settings that are passed to a container unchanged."""
    return "".join(f"  {name.upper()}:\n" for name in sorted(Settings.model_fields) if name not in _NOT_PASSED_ON)


def pages() -> dict[Path, str]:
    """Return the right content of each file."""
    readme, compose = REPOSITORY / "README.md", REPOSITORY / "docker-compose.yml"
    return {
        readme: _replaced(readme.read_text("utf-8"), f"<!-- {_MADE} -->\n", table(), f"<!-- {_END} -->\n"),
        compose: _replaced(compose.read_text("utf-8"), f"  # {_MADE}\n", passed_on(), f"  # {_END}\n"),
    }


def _replaced(text: str, begin: str, content: str, end: str) -> str:
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"a file has lost its line {begin!r} or {end!r}")
    return before + begin + content + end + after


def _as_text(default: object) -> str:
    match default:
        case None:
            return ""
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
