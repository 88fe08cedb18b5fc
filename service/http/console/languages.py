"""The language of a page: Korean or English, by a person's choice, else by the browser's.

`korean.json` has the Korean of each English sentence. Korean particles depend on the word before, so no sentence has
one after a value. `words.json` has the Korean of each word, such as a state's; the English of some; sentences about one
thing; reasons that the service itself records; and, in both languages, what problems and outcomes mean and what to do,
as docs/runbook.md says it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import orjson
from aiohttp import web

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")
COOKIE = "console-language"
# The same word has another meaning, and so another Korean, in each of these.
_PREFIXES = frozenset({"payment", "source", "cause", "field", "health", "method", "channel", "refunding"})

_HERE = Path(__file__).parent
SENTENCES: dict[str, str] = orjson.loads((_HERE / "korean.json").read_bytes())
_FILE = orjson.loads((_HERE / "words.json").read_bytes())
WORDS: dict[str, str] = _FILE["korean"]
ENGLISH: dict[str, str] = _FILE["english"]
TOLD: dict[str, str] = _FILE["told"]
SINGULAR: dict[str, str] = _FILE["singular"]
EXPLAINED: dict[str, dict[str, str]] = _FILE["explained"]


def language_of(request: web.Request) -> Language:
    """Return the language that the address or the cookie names, or the first of ours that the browser lists."""
    return next((language for name in _wishes(request) for language in LANGUAGES if language == name), "en")


def _wishes(request: web.Request) -> Iterator[str]:
    yield request.query.get("lang", "")
    yield request.cookies.get(COOKIE, "")
    for part in request.headers.get("Accept-Language", "").lower().split(","):
        yield part.strip()[:2]


def translator(language: Language) -> Callable[..., str]:
    """Return the function that says a sentence of ours in this language, with values at its `{names}`."""

    def say(sentence: str, **values: object) -> str:
        if language == "ko":
            text = SENTENCES.get(sentence, sentence)
        else:
            text = SINGULAR.get(sentence, sentence) if str(values.get("count")) == "1" else sentence
        return text.format_map(values) if values else text

    return say


def word(language: Language, name: str) -> str:
    """Return the name of a state, a problem or the like for a person. One that is not known stands as it is."""
    kind, _, rest = name.partition("_")
    if language == "ko":
        return WORDS.get(name) or (rest if kind in _PREFIXES else name)
    if name in ENGLISH:
        return ENGLISH[name]
    return (rest if kind in _PREFIXES and name not in EXPLAINED else name).replace("_", " ")


def told(language: Language, text: str) -> str:
    """Return a reason as it was recorded: the service's own in the visitor's language, a person's as it stands."""
    return TOLD.get(text, text) if language == "ko" else text


def explanation(language: Language, kind: str) -> str:
    """Return what a problem or an outcome means and what to do, or nothing."""
    return EXPLAINED.get(kind, {}).get(language, "")
