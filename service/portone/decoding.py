"""Decode PortOne's JSON leniently: one text that cannot be decoded hides no other (docs/portone.md §4.19).

The quirk: a text may be cut off within a character, which leaves bytes that are no UTF-8, or half of a surrogate pair.
What cannot be decoded becomes U+FFFD, the replacement character, and no id may contain it.
"""

import json
from typing import Any

import orjson

REPLACEMENT = "\ufffd"


def decode(body: bytes) -> Any:
    """Return the value of a JSON body. Raises ValueError if it is no JSON whatever its texts are."""
    try:
        return orjson.loads(body)
    except ValueError:
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Any:
    """Decode slowly, but whatever the texts: also with control characters, a byte order mark, or NaN for a number."""
    try:
        return _without_halves(json.loads(body.decode("utf-8-sig", "replace"), strict=False))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_halves(value: Any) -> Any:
    """Return the value with each half of a surrogate pair replaced, because no database and no log can carry it."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_without_halves(item) for item in value]
        case dict():
            return {_without_halves(key): _without_halves(item) for key, item in value.items()}
        case _:
            return value
