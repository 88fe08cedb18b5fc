"""Make pages of their templates. Whatever stands in a page is escaped."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2

from service.domain.feed_cursor import cursor_of
from service.domain.money import to_major
from service.http.console.files import address_of
from service.http.console.languages import Language, explanation, told, translator, word

# Korea's time, as PortOne's own console shows it. It has no summer time.
KST = timezone(timedelta(hours=9))


@cache
def _templates(language: Language) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {
        "language": language,
        "_": translator(language),
        "word": lambda name: word(language, str(name)),
        "explanation": lambda kind: explanation(language, str(kind)),
        "told": lambda text: told(language, str(text)),
        "file": address_of,
        "query": _query,
    }
    made.filters |= {
        "money": money,
        "time": time_text,
        "utc": _utc,
        "event": cursor_of,
        "seconds": partial(_seconds, language),
    }
    return made


def render(template: str, language: Language, **values: Any) -> str:
    """Return the page."""
    return _templates(language).get_template(template).render(values)


def money(amount: int, currency: str) -> str:
    """Return an amount in the currency's own unit: 64,900 KRW, 6.00 USD."""
    return f"{to_major(amount, currency):,} {currency}"


def time_text(at: datetime) -> str:
    """Return a time as people in Korea read it."""
    return f"{at.astimezone(KST):%Y-%m-%d %H:%M:%S}"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


# From the longest. A span is at least two of its unit.
_UNITS = {
    "en": ((86_400, " d"), (3_600, " h"), (60, " min"), (1, " s")),
    "ko": ((86_400, "일"), (3_600, "시간"), (60, "분"), (1, "초")),
}


def _seconds(language: Language, seconds: float) -> str:
    """Return a time span in the unit that fits it."""
    size, unit = next((each for each in _UNITS[language] if seconds >= 2 * each[0]), _UNITS[language][-1])
    return f"{max(0.0, seconds) / size:.0f}{unit}"


def _query(values: Mapping[str, object], **more: object) -> str:
    """Return a query with those of the values that are given."""
    given = {**values, **more}
    return "?" + urlencode({name: value for name, value in given.items() if value not in (None, "")})
