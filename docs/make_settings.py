"""Write the lists of settings from the code: `python -m docs.make_settings`.

docs/configuration.md gets every setting, by topic; README.md gets the usual ones; docker-compose.yml gets those that it
passes to the containers.
"""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from service.settings import Settings

REPOSITORY = Path(__file__).parents[1]
_MADE = "made by `python -m docs.make_settings`"
_END = "end of what is made"

# Each has its own line in docker-compose.yml, or is not chosen by the person who runs containers.
_NOT_PASSED_ON = {"host", "port", "sandbox_port", "metrics_host", "metrics_port", "state_dir", "time_scale"} | {
    "database_url",
    "direct_database_url",
    "redis_url",
    "portone_imp_key",
    "portone_imp_secret",
    "service_keys",
    "checkout_secrets",
}

# A bound as high as this only keeps out slips, as a port's does.
_WIDE = 65_535

# What almost every shop sets. The README has these.
_USUAL = (
    "database_url",
    "redis_url",
    "portone_imp_key",
    "portone_imp_secret",
    "service_keys",
    "checkout_secrets",
    "return_url",
    "cors_origins",
    "trusted_proxies",
)

# A setting belongs to the first topic of which a pattern fits its name, and stands there in the order of the class.
TOPICS = {
    "Addresses": ("host", "port", "*_port", "*_host", "state_dir", "*database_url", "redis_url", "read_age*"),
    "PortOne": ("portone_*", "calls_per_second", "prepare_amount", "allow_test_channel"),
    "Keys": ("service_keys", "checkout_secrets", "checkout_token_seconds", "console_*"),
    "The shop's pages": ("public_url", "return_url", "cors_origins", "completion_wait_seconds", "trusted_proxies"),
    "Which money is ours": ("order_prefixes", "payments_since", "deposit_grace_hours"),
    "What is refunded by itself": ("on_*", "refund_*"),
    "Just before a payment: `confirm_url`": ("confirm_*", "stock_hook_*"),
    "Outgoing webhooks": ("endpoint*",),
    "Alarms, metrics, logs and traces": ("promise_*", "metrics_*", "log_*", "trac*", "otel_*", "telemetry_*"),
    "How long rows are kept": ("keep_*",),
    "Limits on callers": ("*_per_client", "*_per_second"),
    "Room for each kind of work": ("*_connections", "*_waiting", "*_waiters", "*_followers", "spill_megabytes"),
    "For tests": ("time_scale",),
}


def usual() -> str:
    """Return a table of the settings that almost every shop sets."""
    return _table(_USUAL)


def by_topic() -> str:
    """Return every setting with its default, bounds and meaning, below a heading for each topic."""
    topics: dict[str, list[str]] = {topic: [] for topic in TOPICS}
    for name in Settings.model_fields:
        topics[_topic(name)].append(name)
    return "\n".join(f"## {topic}\n\n{_table(names)}" for topic, names in topics.items())


def passed_on() -> str:
    """Return the names of the settings that are passed to a container unchanged."""
    return "".join(f"  {name.upper()}:\n" for name in sorted(Settings.model_fields) if name not in _NOT_PASSED_ON)


def pages() -> dict[Path, str]:
    """Return the right content of each file."""
    html = (f"<!-- {_MADE} -->\n", f"<!-- {_END} -->\n")
    parts = {
        "README.md": (html, usual()),
        "docs/configuration.md": (html, "\n" + by_topic() + "\n"),
        "docker-compose.yml": ((f"  # {_MADE}\n", f"  # {_END}\n"), passed_on()),
    }
    return {
        REPOSITORY / name: replaced((REPOSITORY / name).read_text("utf-8"), begin, content, end)
        for name, ((begin, end), content) in parts.items()
    }


def _topic(name: str) -> str:
    for topic, patterns in TOPICS.items():
        if any(fnmatch(name, pattern) for pattern in patterns):
            return topic
    raise ValueError(f"give {name.upper()} a topic: add it to TOPICS in docs/make_settings.py")


def _table(names: Iterable[str]) -> str:
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name in names:
        field = Settings.model_fields[name]
        default = _as_text(field.default)
        lines.append(f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {field.description}{_range(field)} |")
    return "\n".join(lines) + "\n"


def _range(field: FieldInfo) -> str:
    """Return the values that a setting takes, in brackets, where they are few or narrowly bounded."""
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return f" ({' or '.join(f'`{choice}`' for choice in choices)})"
    bounds = {name: getattr(part, name) for part in field.metadata for name in ("ge", "le") if hasattr(part, name)}
    if "le" not in bounds or bounds["le"] >= _WIDE:
        return ""
    return f" ({bounds['ge']:g} to {bounds['le']:,g})" if "ge" in bounds else f" (up to {bounds['le']:,g})"


def replaced(text: str, begin: str, content: str, end: str) -> str:
    """Return the text with the content between these two lines."""
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
