"""Settings as text, with their secrets hidden: for people, and for the row that a process keeps of itself."""

import json
import re

from pydantic import BaseModel, SecretStr

from service.settings import Settings

HIDDEN = "********"
# Up to the last @: a password that should have been percent-encoded is hidden too.
_URL_PASSWORD = re.compile(r"(?<=://)([^:@/?]*):.*@|([?&](?:password|sslpassword|sentinel_password)=)[^&#]*")


def setting_texts(settings: Settings) -> dict[str, str]:
    """Return each setting's text by its name in capitals, in the order of the class."""
    return {name.upper(): _text(name, getattr(settings, name)) for name in Settings.model_fields}


def hide_password(url: str) -> str:
    """Return the URL with its password hidden."""
    return _URL_PASSWORD.sub(lambda m: f"{m[2]}{HIDDEN}" if m[2] else f"{m[1]}:{HIDDEN}@", url)


def _text(name: str, value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr() if name.endswith("_url"):
            return hide_password(value.get_secret_value())
        case SecretStr():
            return HIDDEN if value.get_secret_value() else ""
        case BaseModel():
            return json.dumps({key: _text(key, part) for key, part in value if part}, ensure_ascii=False)
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {_text(name, part)}" for key, part in value.items()) + "}"
        case tuple():
            return ",".join(_text(name, part) for part in value)
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value)
