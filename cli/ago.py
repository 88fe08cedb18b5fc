"""Read how far back a person means: 30m, 12h, 2d."""

import re
from datetime import timedelta

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def read_ago(text: str) -> timedelta | None:
    """Return the time that is meant, or None if the text is of another form."""
    match = re.fullmatch(r"(\d{1,5})([mhd])", text, re.ASCII)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
